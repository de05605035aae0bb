"""A benchmark in words and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table

from alignkit.benchmarking.benchmarked import Benchmarked, Score, TaskScores
from alignkit.evaluation.table_rows import RowName
from alignkit.language.speaking import say, told
from alignkit.metrics.intervals import Interval
from alignkit.reporting.figure_tables import number
from alignkit.reporting.group_words import GroupTable

# who embeds the queries and the documents of each row
TEACHER = "the teacher embeds queries and documents"
HEAD = "student and head embed queries, the teacher documents"
BOTH = "student and head embed both"
STUDENT = "the student embeds both, in an index of its own"

# by what the units of a task are called
OVER = {
    "queries": "{name} over {units:,} queries",
    "pairs": "{name} over {units:,} pairs",
    "texts": "{name} over {units:,} texts",
}


@dataclass(frozen=True)
class TaskPart:
    """What a report says of one task."""

    title: str
    rows: list[list[str]]
    notes: list[str]
    groups: GroupTable


def headings() -> list[str]:
    """Of a table of scores."""
    return [say("row"), say("score"), say("95% interval"), say("share of the teacher")]


def task_part(task: TaskScores, found: Benchmarked) -> TaskPart:
    """Of one task, for Markdown and the page."""
    return TaskPart(_title(task), _rows(task.rows), [told(note) for note in task.notes], _groups(task, found))


def mean_rows(found: Benchmarked) -> list[list[str]]:
    """The mean over tasks; none where there is one task only."""
    return _rows(found.mean)


def row_lines(found: Benchmarked) -> list[list[str]]:
    """What each row is, and how MTEB's files call it."""
    product = found.product
    meant = {RowName.TEACHER: TEACHER, product.row: HEAD, product.both: BOTH, product.own_index: STUDENT}
    return [[name.value, say(meant[name]), ran.name, ran.revision] for name, ran in found.models.items()]


def intervals_line(found: Benchmarked) -> str:
    """How intervals and shares are meant."""
    return say(
        "Scores are MTEB's. Intervals and shares of the teacher's score are by a paired bootstrap with {resamples:,} "
        "resamples over queries, pairs of texts or texts; in the mean of several tasks each counts the same.",
        resamples=found.resamples,
    )


def console_benchmark(found: Benchmarked) -> Iterator[RenderableType]:
    """For a terminal of 80 columns."""
    for at, task in enumerate(found.tasks):
        if at:
            yield ""
        yield _title(task)
        yield _table(task.rows, found)
        for note in task.notes:
            yield f"  - {told(note)}"
        if task.groups:
            groups = _groups(task, found)
            yield f"\n{groups.above()}"
            yield groups.console()
            yield from groups.below()
    if found.mean:
        yield f"\n{say('mean of the {tasks} tasks', tasks=len(found.tasks))}"
        yield _table(found.mean, found)


def _table(rows: Mapping[RowName, Score], found: Benchmarked) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True)
    for heading in headings()[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, cells in zip(rows, _rows(rows), strict=True):
        table.add_row(*cells, style="bold" if name == found.product.row else None)
    return table


def _rows(rows: Mapping[RowName, Score]) -> list[list[str]]:
    return [[name.value, number(score.value), _range(score.interval), _share(score)] for name, score in rows.items()]


def _share(score: Score) -> str:
    return "-" if score.share is None else say("{value:.1%} ({low:.1%} to {high:.1%})", **vars(score.share))


def _range(interval: Interval | None) -> str:
    if interval is None:
        return "-"
    return say("{low} to {high}", low=f"{interval.low:.3f}", high=f"{interval.high:.3f}")


def _title(task: TaskScores) -> str:
    name = f"{task.name}: {task.measure}"
    if not task.units:
        return name
    return say(OVER[task.called], name=name, units=task.units)


def _groups(task: TaskScores, found: Benchmarked) -> GroupTable:
    return GroupTable(task.groups, task.grouped_by, task.measure, found.product, "benchmark.json")
