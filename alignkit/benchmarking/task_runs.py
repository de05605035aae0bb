"""Run models on tasks by MTEB, and put intervals beside what it says."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import alignkit
from alignkit.benchmarking.benchmarked import Benchmarked, Ran, Score, TaskScores
from alignkit.benchmarking.mteb_model import MtebModel, import_mteb
from alignkit.benchmarking.score_intervals import resampled_scores
from alignkit.benchmarking.task_groups import check_groups, groups_of_task
from alignkit.benchmarking.unit_figures import UnitFigures, unit_figures
from alignkit.evaluation.evidence import MIN_QUERIES
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.metrics.intervals import RESAMPLES, Interval, interval_of

logger = logging.getLogger(__name__)

RESULTS = "results"
BATCH = 256
# MTEB rounds what it writes
_SAME = 5e-4


@dataclass(frozen=True)
class _TaskRun:
    """One task by all models."""

    scores: TaskScores
    drawn: Mapping[RowName, np.ndarray]


def run_benchmark(
    tasks: Sequence[Any], models: Mapping[RowName, MtebModel], folder: Path, *, head: str,
    product: Product = HEAD_ALONE, group_by: str | None = None, seed: int = 0, resamples: int = RESAMPLES,
) -> Benchmarked:  # fmt: skip
    """Run every model on every task; results are written as they come, in MTEB's own files below `folder/results`.

    Args:
        tasks: see `tasks_named`.
        models: row → model.
        folder: of the run.
        head: where it came from, for the report.
        product: the rows of the student and the head.
        group_by: a field of folders on this machine, see `pairs.query_groups`.
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        EmbedderError: if a model fails.
        ConfigError: if no folder has such a field.
        DataError: if no query has a value in it.
    """
    check_groups(tasks, group_by)
    runs = [_run_task(task, models, folder, product, group_by, seed, resamples) for task in tasks]
    return Benchmarked(
        head=head,
        product=product,
        models={name: _ran(model) for name, model in models.items()},
        tasks=tuple(run.scores for run in runs),
        mean=_mean(runs) if len(runs) > 1 else {},
        seed=seed,
        resamples=resamples,
        versions={"alignkit": alignkit.__version__, "mteb": import_mteb().__version__},
    )


def _run_task(
    task: Any, models: Mapping[RowName, MtebModel], folder: Path, product: Product, group_by: str | None,
    seed: int, resamples: int,
) -> _TaskRun:  # fmt: skip
    values, figures, notes = dict[RowName, float](), dict[RowName, UnitFigures](), list(getattr(task, "notes", ()))
    for name, model in models.items():
        logger.info("%s: %s", task.metadata.name, name)
        values[name], found = _run_model(task, model, folder)
        if found is not None:
            figures[name] = found
    scores, drawn = resampled_scores(figures, resamples=resamples, seed=seed) if figures else ({}, {})
    if any(abs(scores[name] - values[name]) > _SAME for name in scores) or set(scores) != set(values):
        notes.append("no intervals: this task's score is not a mean over single queries, pairs or texts that is known")
        scores, drawn, figures = {}, {}, {}
    first = next(iter(figures.values()), None)
    units = None if first is None else sum(len(one.units) for one in first.strata)
    if units is not None and units < MIN_QUERIES:
        notes.append(f"no intervals: {units} are too few, expected at least {MIN_QUERIES}")
        drawn = {}
    groups = groups_of_task(task, figures, product, group_by, seed=seed, resamples=resamples)
    return _TaskRun(
        TaskScores(
            name=task.metadata.name,
            kind=str(task.metadata.type),
            measure=str(task.metadata.main_score),
            units=units,
            called="" if first is None else first.called,
            rows=_rows(values, drawn),
            groups=groups.figures,
            grouped_by=group_by if groups.figures else None,
            notes=(*notes, *groups.notes, *_failed(models)),
        ),
        drawn,
    )


def _run_model(task: Any, model: MtebModel, folder: Path) -> tuple[float, UnitFigures | None]:
    mteb = import_mteb()
    model.failures.clear()
    with tempfile.TemporaryDirectory(dir=folder, prefix="predictions-") as predictions:
        with _no_bars():
            found = mteb.evaluate(
                model,
                task,
                cache=mteb.ResultCache(folder),
                # vectors are cached; figures of single queries are in no result of an earlier run
                overwrite_strategy="always",
                prediction_folder=predictions,
                encode_kwargs={"batch_size": BATCH, "show_progress_bar": False},
                show_progress_bar=False,
                co2_tracker=False,
            )
        (result,) = found.task_results
        return float(result.get_score()), unit_figures(task, Path(predictions) / task.prediction_file_name)


@contextlib.contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bars of datasets, one for every table that is prepared."""
    import datasets

    shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _rows(values: Mapping[RowName, float], drawn: Mapping[RowName, np.ndarray]) -> dict[RowName, Score]:
    rows = {}
    for name, value in values.items():
        interval = interval_of(value, drawn[name]) if name in drawn else None
        rows[name] = Score(value, interval, _share(name, values, drawn))
    return rows


def _share(name: RowName, values: Mapping[RowName, float], drawn: Mapping[RowName, np.ndarray]) -> Interval | None:
    teacher = drawn.get(RowName.TEACHER)
    if teacher is None or name == RowName.TEACHER or (teacher <= 0).any() or values[RowName.TEACHER] <= 0:
        return None
    return interval_of(values[name] / values[RowName.TEACHER], drawn[name] / teacher)


def _mean(runs: Sequence[_TaskRun]) -> dict[RowName, Score]:
    """Over tasks, each counting the same, as MTEB's leaderboard has it; its interval where all tasks have one."""
    names = list(runs[0].scores.rows)
    values = {name: float(np.mean([run.scores.rows[name].value for run in runs])) for name in names}
    known = all(set(names) == set(run.drawn) for run in runs)
    drawn = {name: np.mean([run.drawn[name] for run in runs], axis=0) for name in names} if known else {}
    return _rows(values, drawn)


def _ran(model: MtebModel) -> Ran:
    meta = model.mteb_model_meta
    return Ran(model.name, model.revision, f"{meta.model_name_as_path()}/{model.revision}")


def _failed(models: Mapping[RowName, MtebModel]) -> list[str]:
    return [
        f"{name}: {len(model.failures):,} texts have no vector, and are found last; the first: "
        f"{next(iter(model.failures.values()))}"
        for name, model in models.items()
        if model.failures
    ]
