"""Runs in order: those that were measured on the same set for the same teacher, and which of them are worth having."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from alignkit.comparing.finished_run import FinishedRun
from alignkit.comparing.query_cost import QueryCost, student_notes
from alignkit.metrics.intervals import Interval
from alignkit.servers.untrusted_words import one_line

# times of one head differ by so much from one measurement to the next
SAME_COST = 0.05


@dataclass(frozen=True)
class Entry:
    """A run on the leaderboard.

    Attributes:
        run: its figures and settings.
        cost: of a query; `None` where its head is not there any more.
        quality: the figure that decides its place.
        on_front: whether no other run is better and no dearer.
        settings: those in which the runs differ.
    """

    run: FinishedRun
    cost: QueryCost | None
    quality: float | None
    on_front: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Group:
    """Runs that can be compared, the best first.

    Attributes:
        teacher: whose space the heads map into.
        measured_on: in words.
        measure: the column of the verdicts.
        ordered_by: a figure of the validation split, or the measure itself.
        entries: the runs.
        costs_embedding: whether costs hold the student's share; else the head's alone is compared.
    """

    teacher: str
    measured_on: str
    measure: str
    ordered_by: str
    entries: tuple[Entry, ...]
    costs_embedding: bool

    @property
    def notes(self) -> list[str]:
        """What is not known of the costs."""
        return student_notes([entry.cost for entry in self.entries if entry.cost is not None])

    def cost_us(self, entry: Entry) -> float | None:
        """What a query costs a run, as far as it is known of all of them."""
        if entry.cost is None:
            return None
        return entry.cost.us if self.costs_embedding else entry.cost.head_us


def group_runs(
    costs: Sequence[tuple[FinishedRun, QueryCost | None]],
    objective: str | None = None,
    settings: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[Group, ...]:
    """Put runs in order, apart by teacher and by what they were measured on; the largest group first.

    Args:
        costs: runs, with what a query costs each.
        objective: a figure of the validation split that decides the order, where all runs of a group have it; `None`
            takes the measure of the verdicts. Of a loss the least is best.
        settings: run → its settings that are shown; `None` shows those in which the runs of a group differ.
    """
    apart: dict[str, list[tuple[FinishedRun, QueryCost | None]]] = {}
    for run, cost in costs:
        teacher = json.dumps(run.meta.get("teacher_identity"), sort_keys=True, default=str)
        apart.setdefault(f"{teacher} {run.measured_on()} {run.measure}", []).append((run, cost))
    return tuple(_group(some, objective, settings) for some in sorted(apart.values(), key=len, reverse=True))


def dominates(better: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether one pair of quality and cost leaves no reason to take another; costs within 5% are the same.

    >>> dominates((0.9, 10.0), (0.8, 9.8)), dominates((0.9, 20.0), (0.8, 9.0)), dominates((0.8, 9.0), (0.8, 20.0))
    (True, False, True)
    """
    more, dearer = better[0] > other[0], better[1] > other[1] * (1 + SAME_COST)
    return (more and not dearer) or (better[0] >= other[0] and better[1] < other[1] / (1 + SAME_COST))


def _group(
    some: list[tuple[FinishedRun, QueryCost | None]],
    objective: str | None,
    shown: Mapping[str, Mapping[str, str]] | None,
) -> Group:
    first = some[0][0]
    by_objective = objective is not None and all(run.validation(objective) is not None for run, _ in some)
    ordered_by = objective if by_objective and objective is not None else first.measure
    sign = -1.0 if ordered_by.endswith("loss") else 1.0

    def quality(run: FinishedRun) -> float | None:
        found = run.validation(ordered_by) if by_objective else run.figures.get(ordered_by)
        return None if found is None else float(found)

    costs_embedding = all(cost is None or cost.us is not None for _, cost in some)
    group = Group(_name_of(first.meta.get("teacher_identity")), _set_of(first), first.measure, ordered_by, (),
                  costs_embedding)  # fmt: skip
    entries = [Entry(run, cost, quality(run)) for run, cost in some]
    points = [
        (sign * entry.quality, us)
        for entry in entries
        if entry.quality is not None and (us := group.cost_us(entry)) is not None
    ]
    differing = _differing([run for run, _ in some])

    def told(entry: Entry) -> Entry:
        us = group.cost_us(entry)
        known = entry.quality is not None and us is not None
        on_front = known and not any(dominates(point, (sign * entry.quality, us)) for point in points)  # type: ignore[operator,arg-type]
        settings = {name: value for name, value in entry.run.settings.items() if name in differing}
        if shown is not None:
            settings = dict(shown[entry.run.name])
        return Entry(entry.run, entry.cost, entry.quality, on_front, settings)

    # what has no figure comes last; of equals the cheaper comes first
    entries.sort(
        key=lambda one: (one.quality is None, -sign * (one.quality or 0.0), group.cost_us(one) or float("inf"))
    )
    return Group(group.teacher, group.measured_on, group.measure, ordered_by, tuple(map(told, entries)),
                 costs_embedding)  # fmt: skip


def _differing(runs: Sequence[FinishedRun]) -> set[str]:
    """Settings that have several values; one that only some runs have, as another head has it, says nothing else."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in run.settings.items():
            values.setdefault(name, set()).add(value)
    return {name for name, found in values.items() if len(found) > 1}


def _name_of(identity: Any) -> str:
    if not isinstance(identity, Mapping):
        return "not named"
    return one_line(identity.get("model") or identity.get("backend") or "not named", 60)


def _set_of(run: FinishedRun) -> str:
    queries, corpus = run.meta.get("queries"), run.meta.get("corpus")
    counted = f"{queries:,} queries, {corpus:,} texts" if isinstance(queries, int) and isinstance(corpus, int) else ""
    return f"{one_line(run.meta.get('source') or 'vectors', 60)}{counted and f' ({counted})'}"


def interval_json(interval: Interval | None) -> dict[str, float] | None:
    """Plain JSON values."""
    return None if interval is None else interval.to_json()
