"""The command `evaluate`: what is done once its words have been read."""

from __future__ import annotations

import logging
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from alignkit.artifact import load_artifact
from alignkit.codes.kinds import check_dims, parse_codes
from alignkit.commandline import build, choice_of, plain, without_secrets
from alignkit.commandline.data import build_data
from alignkit.commandline.priced import cost_of_calls
from alignkit.commandline.results import Screen
from alignkit.commandline.sides import complete_sides
from alignkit.commandline.untouched import untouched
from alignkit.commandline.workers_asked import workers_of
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError, ConfigError
from alignkit.evaluation.code_table import code_table
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.embedding_time import embedding_times
from alignkit.evaluation.engine_search import search_engine
from alignkit.evaluation.evaluate_settings import check_settings
from alignkit.evaluation.leak_checks import check_leaks
from alignkit.evaluation.learning_curve import FEWEST_PAIRS, learning_curve
from alignkit.evaluation.rankings import EXACT, Find
from alignkit.evaluation.requirements import failed_requirements
from alignkit.evaluation.result import About, Result
from alignkit.evaluation.same_models import check_fit, check_models, doubts_of
from alignkit.evaluation.search_in_parts import SearchInParts
from alignkit.language.speaking import say
from alignkit.pairs.base import PairSplits
from alignkit.pairs.query_groups import check_field, grouped
from alignkit.pairs.searched_corpus import searching
from alignkit.pairs.text_sets import TextSet, evaluation_set
from alignkit.reporting.code_words import console_codes
from alignkit.reporting.console import console_rows, console_words
from alignkit.reporting.events import log_evaluation
from alignkit.reporting.group_words import GroupTable
from alignkit.reporting.report_files import write_report
from alignkit.runs.baselines import load_baselines
from alignkit.runs.folder import asked_head, run_of
from alignkit.runs.training_sample import TrainingSample
from alignkit.setting_names import SIDES
from alignkit.training.device import choose_device

logger = logging.getLogger("alignkit.evaluate")

FAILED_EXIT_CODE = 3
NO_BASELINES = (
    "there are no rows ridge and mean: they lie in the run folder alone, and not beside a head on the Hub, in a bundle "
    "or by itself; evaluate the run folder that this head came from"
)
# the teacher's vectors come from the cache alone, so that it may be dear, remote or switched off
NEVER_CALL_THE_TEACHER = ("cached", "built", "index")


def main(config: DictConfig) -> None:
    """Load head and data, compare, report."""
    head = asked_head(config.head)
    artifact, run = load_artifact(head), run_of(head)
    baselines = load_baselines(run)
    complete_sides(config, artifact, head)
    settings = plain(config)
    thresholds, device = check_settings(settings), choose_device(settings["device"]["name"]).torch_device
    asked = parse_codes(settings["codes"]) if settings["codes"] is not None else None
    check_dims(asked.dims if asked else (), artifact.head.teacher_dim)
    folder = Path(HydraConfig.get().runtime.output_dir)
    search = _search(settings, folder)
    data = build_data(settings)
    if settings["learning_curve"] and not isinstance(data, PairSplits):
        raise ConfigError("learning_curve=true needs training pairs; take data=demo, vectors, cached, built or index")
    check_field(data.origin.fields if isinstance(data, PairSplits) else data.fields(), settings["group_by"])
    embedders, absent = _live_models(settings, data)
    try:
        check_models(artifact, embedders if isinstance(data, TextSet) else {})
        test = grouped(evaluation_set(data, embedders, settings["seed"]), settings["group_by"])
        check_fit(artifact, test)  # before any model is timed
        timed = embedding_times(test, embedders, absent)
    finally:
        for embedder in embedders.values():
            embedder.close()
    leaks = check_leaks(test.queries, run, data if isinstance(data, PairSplits) else None)
    sample = TrainingSample.load(run)
    if isinstance(data, PairSplits) and choice_of("data", settings["data"]) == "index":
        with build(settings["index"], "index") as index:
            found = search_engine(index, searching(data, settings["seed"]), artifact, data.qrels).words()
        for line in found:
            logger.info("%s", line)
        test = replace(test, origin=replace(test.origin, notes=(*test.origin.notes, *found)))
    drawn = {name: settings[name] for name in ("seed", "resamples")}
    before, not_shown = untouched(artifact, run, test, data, settings)
    result = compare(
        test, artifact, baselines, thresholds=thresholds, seen=leaks.seen,
        unlike=sample.unlike(test.queries.student) if sample else None, embedding=timed,
        search=search, before=before, device=device, **drawn,
    )  # fmt: skip
    doubts, curve = [*doubts_of(artifact, test), *([] if not_shown is None else [not_shown])], None
    doubts += [] if baselines else [NO_BASELINES]
    if settings["learning_curve"] and isinstance(data, PairSplits):
        curve = learning_curve(data, test, result.measure, cost=cost_of_calls(settings, data), seed=settings["seed"])
        if curve is None:
            few = f"{len(data.train)} training pairs, at least {FEWEST_PAIRS} are needed"
            doubts.append(f"there is no learning curve: {few}")
    about = About(
        head=str(head),
        leaks=leaks.line,
        doubts=tuple(doubts),
        timed={side: one.said for side, one in timed.items()},
        settings=without_secrets(settings),
    )
    codes = code_table(test, artifact.query_head, asked, **drawn, product=result.product) if asked else ()
    result = replace(result, curve=curve, codes=codes, about=about)
    write_report(result, folder, html=settings["html"])
    if settings["tensorboard"]:
        log_evaluation(result, folder)
    _print(result, folder, settings["html"])
    failed = failed_requirements(result, settings["require"] or {})
    if failed:
        for line in failed:
            print(f"alignkit: required and not met: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(FAILED_EXIT_CODE)


def _search(settings: dict[str, Any], folder: Path) -> str | Find:
    """What finds the neighbours: this process, or workers that meet in the run folder."""
    search: str = settings["search"]
    if (engine := workers_of(settings["engine"])) is None:
        return search
    if search != EXACT:
        raise ConfigError(
            f"search={search} and engine=: both say who searches, and workers search exactly; leave one out"
        )
    return SearchInParts(engine, folder / "parts")


def _live_models(settings: dict[str, Any], data: PairSplits | TextSet) -> tuple[dict[str, Embedder], dict[str, str]]:
    """The models that are called: both for texts, else those whose time is taken; and why the others take no time."""
    absent = dict.fromkeys(SIDES, "time_embedding=false") if settings["time_embedding"] is False else {}
    if isinstance(data, TextSet):
        return {name: build(settings[name], name) for name in SIDES}, absent
    source = choice_of("data", settings["data"])
    if settings["time_embedding"] == "auto" and source in NEVER_CALL_THE_TEACHER:
        absent["teacher"] = f"data={source} never calls the teacher; time_embedding=true does"
    found: dict[str, Embedder] = {}
    for name in SIDES:
        if name in absent:
            continue
        try:
            found[name] = build(settings[name], name)
        except AlignkitError as error:  # with the vectors there, only its time needs the model
            absent[name] = str(error)
    return found, absent


def _print(result: Result, folder: Path, html: bool) -> None:
    console = Screen(80)
    for line in console_words(result):
        console.print(line, markup=False)
    console.print()
    console.print(console_rows(result))
    if result.codes:
        console.print()
        console.print(console_codes(result))
    if result.grouped_by:
        groups = GroupTable.of_result(result)
        console.print(f"\n{groups.above()}", markup=False)
        console.print(groups.console())
        for line in groups.below():
            console.print(line, markup=False)
    report = folder / ("report.html" if html else "alignment_report.md")
    console.print(f"\n{say('report: {file}', file=report)}", soft_wrap=True, markup=False)
