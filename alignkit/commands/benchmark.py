"""The command `benchmark`: what is done once its words have been read."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import load_artifact
from alignkit.benchmarking.mteb_model import MtebModel, import_mteb, model_alone, model_of_head
from alignkit.benchmarking.task_runs import RESULTS, run_benchmark
from alignkit.benchmarking.tasks import names_of_tasks, offline_if_unreachable, tasks_named
from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.commandline import build, plain
from alignkit.commandline.results import Screen
from alignkit.commandline.sides import complete_sides
from alignkit.evaluation.student_record import product_of
from alignkit.evaluation.table_rows import Product, RowName
from alignkit.language.speaking import say
from alignkit.pasting import command_line
from alignkit.reporting.benchmark_page import write_benchmark
from alignkit.reporting.benchmark_words import console_benchmark
from alignkit.runs.folder import asked_head


def main(config: DictConfig) -> None:
    """Run all models on all tasks, report."""
    names = names_of_tasks(config.tasks)
    offline_if_unreachable(names)
    head = asked_head(config.head)
    artifact = load_artifact(head)
    complete_sides(config, artifact, head)
    import_mteb()  # seconds: what is wrong with the head has been said by now
    settings = plain(config)
    folder = Path(HydraConfig.get().runtime.output_dir)
    tasks = tasks_named(names, settings["split"], settings["document"])
    product = product_of(artifact)
    with contextlib.ExitStack() as opened:
        cache = opened.enter_context(VectorCache(settings["cache_dir"]))
        aligned = AlignedEmbedder(
            artifact,
            CachedEmbedder(opened.enter_context(contextlib.closing(build(settings["student"], "student"))), cache),
            settings["allow_student_mismatch"],
        )
        teacher = None
        if {"teacher", "aligned"} & {*settings["rows"]}:
            teacher = opened.enter_context(contextlib.closing(build(settings["teacher"], "teacher")))
            teacher = CachedEmbedder(teacher, cache)
        found = run_benchmark(
            tasks,
            _models(settings, aligned, teacher, product),
            folder,
            head=str(head),
            product=product,
            **{name: settings[name] for name in ("group_by", "seed", "resamples")},
        )
    write_benchmark(found, folder, html=settings["html"])
    console = Screen(80)
    for part in console_benchmark(found):
        console.print(part, markup=False)
    report = folder / ("report.html" if settings["html"] else "benchmark_report.md")
    files = say("MTEB's files: {folder}", folder=folder / RESULTS)
    console.print(f"\n{files}\n{say('report: {file}', file=report)}", soft_wrap=True, markup=False)
    # a verdict also rests on a cascade and on heads without knowledge, which are no models of MTEB's
    asked = next((name for name in names if Path(name).expanduser().is_dir()), "FOLDER")
    evaluate = command_line("evaluate", [f"head={head}", "data=beir", f"data.path={asked}"])
    console.print(say("for a verdict: {command}", command=evaluate), soft_wrap=True, markup=False)


def _models(
    settings: Mapping[str, Any], aligned: AlignedEmbedder, teacher: CachedEmbedder | None, product: Product
) -> dict[RowName, MtebModel]:
    """The rows that were asked for, the teacher first."""
    name, made = settings["name"], dict[RowName, MtebModel]()
    for row in ("teacher", "aligned", "aligned_both", "student"):
        if row not in settings["rows"]:
            continue
        if row == "teacher" and teacher is not None:
            made[RowName.TEACHER] = model_alone(teacher)
        elif row == "aligned":
            made[product.row] = model_of_head(aligned, teacher, name)
        elif row == "aligned_both":
            made[product.both] = model_of_head(aligned, None, name and f"{name}-both")
        else:
            made[product.own_index] = model_alone(aligned.student)
    return made
