"""Say what a head is worth: against its teacher, the student's own index and simpler maps, with intervals."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from alignkit.artifact import Artifact, load_artifact
from alignkit.commandline import command, conf_folder, plain, without_secrets
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError, ConfigError, DataError
from alignkit.evaluation.comparison import Comparison, compare
from alignkit.evaluation.console import console_rows, console_words
from alignkit.evaluation.embedded_sets import TextSet
from alignkit.evaluation.learning_curve import LearningCurve, learning_curve
from alignkit.evaluation.report import Evaluation, write_report
from alignkit.evaluation.requirements import failed_requirements
from alignkit.evaluation.runs import (
    demo_student,
    load_baselines,
    newest_run,
    run_of,
    seen_in_training,
    training_fingerprints,
)
from alignkit.evaluation.sets import EvaluationSet, set_of_pairs
from alignkit.evaluation.tensorboard import log_evaluation
from alignkit.evaluation.timing import query_times
from alignkit.evaluation.verdict import Thresholds
from alignkit.pairs.base import PairSplits
from alignkit.sentences.leaks import find_leaks

logger = logging.getLogger("alignkit.evaluate")

FAILED_EXIT_CODE = 3
EXAMPLES = (
    "python -m alignkit.evaluate head=outputs/train/RUN",
    "python -m alignkit.evaluate data=beir data.path=faq student=ollama teacher=ollama",
    "python -m alignkit.evaluate data=sts data.path=pairs.jsonl",
    "python -m alignkit.evaluate 'require={recall@10: 0.9, share_of_teacher: 0.95}'",
)


@command("evaluate", EXAMPLES)
def main(config: DictConfig) -> None:
    """Load head and data, compare, report."""
    head = Path(str(config.head)).expanduser() if config.head is not None else newest_run()
    artifact, run = load_artifact(head), run_of(head)
    settings = settings_for(config, artifact)
    thresholds = Thresholds(**settings["thresholds"])
    data = hydra.utils.instantiate(settings["data"])
    embedders = _embedders(settings) if settings["time_embedding"] or isinstance(data, TextSet) else {}
    try:
        test = evaluation_set(data, embedders, settings["seed"])
        baselines = load_baselines(run)
        comparison = compare(
            test, artifact, baselines, thresholds=thresholds,
            **{name: settings[name] for name in ("seed", "resamples", "search")},
        )  # fmt: skip
        heads = {"aligned": artifact.head, **{name: part for name, part in baselines.items() if name == "ridge"}}
        timed = _timeable(embedders, test) if settings["time_embedding"] else {}
        times = query_times(test, heads, comparison.meta["cascade"], timed)
    finally:
        for embedder in embedders.values():
            embedder.close()
    about = {"head": str(head), "leaks": leak_check(data, test, run), "settings": without_secrets(settings)}
    curve = _curve(data, test, comparison) if settings["learning_curve"] else None
    evaluation = Evaluation(comparison, times, curve, about)
    folder = Path(HydraConfig.get().runtime.output_dir)
    write_report(evaluation, folder, html=settings["html"])
    if settings["tensorboard"]:
        log_evaluation(evaluation, folder)
    _print(evaluation, folder)
    failed = failed_requirements(comparison, settings["require"] or {})
    if failed:
        for line in failed:
            print(f"alignkit: required and not met: {line}", file=sys.stderr)  # noqa: T201
        sys.exit(FAILED_EXIT_CODE)


def settings_for(config: DictConfig, artifact: Artifact) -> dict[str, Any]:
    """The settings as plain values; on the demo pack the student is the head's own unless one was named."""
    named = any(text.startswith(("embedder@student=", "data.student=")) for text in HydraConfig.get().overrides.task)
    choices = HydraConfig.get().runtime.choices
    if choices["data"] == "demo" and not named and (own := demo_student(artifact.student_identity)):
        config.student = OmegaConf.load(conf_folder() / "embedder" / f"{own}.yaml")
        config.data.student = own
    if not isinstance(config.seed, int):
        raise ConfigError(f"seed={config.seed}: expected a whole number")
    return plain(config)


def evaluation_set(data: PairSplits | TextSet, embedders: dict[str, Embedder], seed: int) -> EvaluationSet:
    """The test split of pairs, or a set of texts put through the embedders."""
    if isinstance(data, PairSplits):
        return set_of_pairs(data.test, data.meta, seed=seed)
    return data.embed(embedders["student"], embedders["teacher"])


def leak_check(data: PairSplits | TextSet, test: EvaluationSet, run: Path | None) -> str:
    """One line: whether test texts were seen in training, as far as that is known."""
    texts = test.queries.texts
    fingerprints = training_fingerprints(run)
    if texts is None:
        return "not possible, the sentences behind the vectors are not known"
    said = []
    if fingerprints is not None:
        seen = int(seen_in_training(texts, fingerprints).sum())
        said.append(f"{seen:,} of {len(texts):,} queries stand among the sentences that this head was trained on")
        if seen:
            logger.warning("%d of %d queries were seen in training: the figures flatter the head", seen, len(texts))
    if isinstance(data, PairSplits) and data.train.texts is not None and data.test.texts is not None:
        try:
            said.append(find_leaks(data.train.texts, data.test.texts).line())
        except DataError as error:
            logger.warning("%s", error)
            said.append(str(error))
    return "; ".join(said) or "not possible, the sentences that this head was trained on are not known"


def _embedders(settings: dict[str, Any]) -> dict[str, Embedder]:
    return {name: hydra.utils.instantiate(settings[name]) for name in ("student", "teacher")}


def _timeable(embedders: dict[str, Embedder], test: EvaluationSet) -> dict[str, Embedder]:
    """The embedders that made these vectors and answer now."""
    found = {}
    for name, embedder in embedders.items():
        made_by = test.meta.get(f"{name}_identity")
        try:
            if made_by is not None and embedder.identity("query") == made_by or embedder.identity() == made_by:
                found[name] = embedder
            else:
                logger.info("%s=: not the model that made these vectors, so its time is not taken", name)
        except AlignkitError as error:
            logger.info("the time of the %s is not taken: %s", name, error)
    return found


def _curve(data: PairSplits | TextSet, test: EvaluationSet, comparison: Comparison) -> LearningCurve | None:
    if not isinstance(data, PairSplits):
        raise ConfigError("learning_curve=true needs training pairs; take data=demo, vectors, cached or built")
    return learning_curve(data.train, data.validation, test, comparison.measure, seed=comparison.meta["seed"])


def _print(evaluation: Evaluation, folder: Path) -> None:
    console = Console(width=None if sys.stdout.isatty() else 80)
    for line in console_words(evaluation):
        console.print(line, highlight=False, markup=False)
    console.print()
    console.print(console_rows(evaluation))
    console.print(f"\nreport: {folder / 'report.html'}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    main()
