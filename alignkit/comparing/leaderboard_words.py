"""A leaderboard for a terminal of 80 columns, as Markdown and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from alignkit.comparing.leaderboard import Entry, Group, interval_json
from alignkit.evaluation.columns import Column
from alignkit.metrics.intervals import Interval
from alignkit.reporting.figures import number

FRONT = "*"
_LONGEST_NAME = 24
_MEANING = {
    True: f"{FRONT} no other run is better and no dearer; µs: student and head, one query at a time on this CPU",
    False: f"{FRONT} no other run is better and no dearer; µs: the head alone, one query at a time on this CPU",
}


def console_group(group: Group) -> Table:
    """A run in two lines: its figures, and the settings in which it differs from others."""
    by_validation = group.ordered_by != group.measure
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    headings = [*([group.ordered_by] if by_validation else []), heading(group.measure), "95%", "of teacher"]
    for name in (*headings, "µs", "MB"):
        table.add_column(name, justify="right", no_wrap=True)
    for place, entry in enumerate(group.entries, start=1):
        figures = [number(entry.quality)] if by_validation else []
        cells = [*figures, number(entry.run.figures.get(group.measure)), _range(entry.run.interval(group.measure)),
                 _share(entry.run.share()), *_costs(group, entry)]  # fmt: skip
        name = _shortened(entry.run.name)
        table.add_row(f"{place}{FRONT if entry.on_front else ' '}", Text(name), *cells)
    return table


def setting_lines(group: Group) -> Iterator[str]:
    """What each place stands for."""
    for place, entry in enumerate(group.entries, start=1):
        told = " ".join(f"{name}={value}" for name, value in entry.settings.items())
        yield f"{place:>3}  {told or entry.run.kind}"


def notes(groups: Sequence[Group]) -> Iterator[str]:
    """What a reader has to know beside the figures."""
    if any(len(group.entries) > 1 for group in groups):
        yield _MEANING[all(group.costs_embedding for group in groups)]
    if len(groups) > 1:
        yield (
            f"{len(groups)} tables: figures for another teacher, on another set or by another measure cannot be "
            "compared, so these runs stand apart"
        )
    yield from dict.fromkeys(note for group in groups for note in group.notes)
    if any(group.ordered_by != group.measure for group in groups):
        yield "The validation split decides the order; the test set, whose figures stand beside it, chose nothing."
    if any(len(group.entries) > 1 and group.ordered_by == group.measure for group in groups):
        yield "The best of many runs on one test set looks better than it is; choose by the validation split."


def markdown_group(group: Group) -> str:
    """A table as GitHub renders it, with a column for each setting in which the runs differ."""
    by_validation = group.ordered_by != group.measure
    names = list(dict.fromkeys(name for entry in group.entries for name in entry.settings))
    headings = [
        "", "run", *([group.ordered_by] if by_validation else []), heading(group.measure), "95%", "of teacher",
        "overlap@10", "cosine", "head µs", "student µs", "head MB", "student MB", *names,
    ]  # fmt: skip
    lines = ["| " + " | ".join(map(_cell, headings)) + " |", "|" + " --- |" * len(headings)]
    for place, entry in enumerate(group.entries, start=1):
        figures, cost = entry.run.figures, entry.cost
        cells = [
            f"{place}{' **front**' if entry.on_front else ''}",
            entry.run.name,
            *([number(entry.quality)] if by_validation else []),
            number(figures.get(group.measure)),
            _range(entry.run.interval(group.measure)),
            _share(entry.run.share()),
            number(figures.get(Column.OVERLAP_10.value)),
            number(figures.get(Column.COSINE_MEAN.value)),
            number(cost.head_us if cost else None),
            number(cost.student.us if cost else None),
            _megabytes(cost.head_bytes if cost else None),
            _megabytes(cost.student.weights if cost else None),
            *(entry.settings.get(name, "") for name in names),
        ]
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def markdown(groups: Sequence[Group], title: str, remarks: Sequence[str] = ()) -> str:
    """The whole page."""
    parts = [f"# {title}"]
    for group in groups:
        parts += [f"Teacher {_cell(group.teacher)}; {_cell(group.measured_on)}", markdown_group(group)]
    parts += [f"- {_cell(line)}" for line in (*notes(groups), *remarks)]
    return "\n\n".join(parts) + "\n"


def leaderboard_json(groups: Sequence[Group], more: Mapping[str, Any]) -> str:
    """All figures; what is undefined is null."""
    whole = {"groups": [_group_json(group) for group in groups], **more}
    return json.dumps(whole, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def heading(measure: str) -> str:
    """Of a column, as tables have it."""
    return Column(measure).heading if measure in {column.value for column in Column} else measure


def _group_json(group: Group) -> dict[str, Any]:
    return {
        "teacher": group.teacher,
        "measured_on": group.measured_on,
        "measure": group.measure,
        "ordered_by": group.ordered_by,
        "cost_is_of": "student and head" if group.costs_embedding else "head",
        "runs": [_entry_json(group, place, entry) for place, entry in enumerate(group.entries, start=1)],
    }


def _entry_json(group: Group, place: int, entry: Entry) -> dict[str, Any]:
    run, cost = entry.run, entry.cost
    return {
        "place": place,
        "run": run.name,
        "folder": str(run.folder),
        "model": run.kind,
        "settings": dict(entry.settings),
        "on_front": entry.on_front,
        "ordered_by": entry.quality,
        "figures": dict(run.figures),
        "intervals": {one: interval_json(run.interval(one)) for one in run.meta.get("intervals", {})},
        "share_of_teacher": interval_json(run.share()),
        "verdict": run.meta.get("verdict"),
        "cost": None
        if cost is None
        else {
            "query_us": group.cost_us(entry),
            "head_us": cost.head_us,
            "student_us": cost.student.us,
            "head_bytes": cost.head_bytes,
            "student_bytes": cost.student.weights,
        },
    }


def _costs(group: Group, entry: Entry) -> tuple[str, str]:
    if entry.cost is None:
        return "-", "-"
    us = group.cost_us(entry)
    together = entry.cost.head_bytes + ((entry.cost.student.weights or 0) if group.costs_embedding else 0)
    return ("-" if us is None else f"{us:,.0f}" if us >= 100 else f"{us:.1f}"), _megabytes(together)


def _megabytes(weights: int | None) -> str:
    return "-" if weights is None else f"{weights / 1e6:.2g}" if weights < 10e6 else f"{weights / 1e6:,.0f}"


def _range(interval: Interval | None) -> str:
    return f"{interval.low:.3f}-{interval.high:.3f}" if interval else "-"


def _share(interval: Interval | None) -> str:
    return f"{interval.low:.1%}-{interval.high:.1%}" if interval else "-"


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"…{name[1 - _LONGEST_NAME :]}"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`")
