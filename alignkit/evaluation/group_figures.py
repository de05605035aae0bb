"""What a head keeps for each group of queries: a domain, an intent, a department."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.evaluation.evidence import MIN_GROUPS, MIN_QUERIES, query_groups
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.metrics.intervals import RESAMPLES, Interval, PairedBootstrap
from alignkit.pairs.evaluation_set import EvaluationSet


@dataclass(frozen=True)
class GroupFigure:
    """One group: its queries, and the mean measure of product, student's own index and teacher.

    Attributes:
        name: of the group.
        queries: that have a figure.
        product: the measure.
        own_index: likewise; `None` where that was not measured.
        teacher: likewise.
        interval: of the product's measure; `None` where the group is too small for one.
        loss: the product less the teacher, likewise.
        share: of the teacher's figure that the product keeps; `None` also where the teacher finds nothing.
    """

    name: str
    queries: int
    product: float
    own_index: float | None
    teacher: float | None
    interval: Interval | None = None
    loss: Interval | None = None
    share: Interval | None = None

    @property
    def is_too_small(self) -> bool:
        """Whether it has too few queries, or too few that can differ by chance, to tell anything."""
        return self.interval is None

    @property
    def lost(self) -> float:
        """By what the groups are ordered, ascending: the product less the teacher, or the product alone."""
        return self.product - (self.teacher or 0.0)

    def to_json(self) -> dict[str, Any]:
        """As `meta.groups` in `metrics.json` has it."""
        intervals = {name: getattr(self, name) for name in ("interval", "loss", "share")}
        return {
            **{name: getattr(self, name) for name in ("name", "queries", "product", "own_index", "teacher")},
            **{name: None if one is None else one.to_json() for name, one in intervals.items()},
            "too_small": self.is_too_small,
        }


def figures_of_groups(
    test: EvaluationSet, figures: Mapping[RowName, np.ndarray], product: Product = HEAD_ALONE, *,
    seed: int = 0, resamples: int = RESAMPLES,
) -> tuple[GroupFigure, ...]:  # fmt: skip
    """All groups by what the product loses against the teacher, most first, those that are too small behind them.

    Args:
        test: what was measured on; without groups there are none.
        figures: row → `(Q,)` per-query figures of the deciding measure.
        product: which rows are compared with the teacher's.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """
    return group_figures(_members(test), figures, product, query_groups(test), seed=seed, resamples=resamples)


def group_figures(
    members: Mapping[str, np.ndarray], figures: Mapping[RowName, np.ndarray], product: Product = HEAD_ALONE,
    together: np.ndarray | None = None, *, seed: int = 0, resamples: int = RESAMPLES,
) -> tuple[GroupFigure, ...]:  # fmt: skip
    """The same of groups by name.

    Args:
        members: name → rows of its queries.
        figures: row → `(Q,)`; of the product, and perhaps of its own index and the teacher.
        product: which rows are compared with the teacher's.
        together: `(Q,)`, equal for queries that are no independent findings; `None` where each stands for itself.
        seed: of the bootstrap.
        resamples: of the bootstrap.
    """
    rows = [row for row in (product.row, product.own_index, RowName.TEACHER) if row in figures]
    known = np.isfinite(np.stack([figures[row] for row in rows])).all(axis=0)
    table = []
    for name, whole in members.items():
        own = whole[known[whole]]
        if not len(own):
            continue
        labels = None if together is None else together[own]
        intervals: tuple[Interval | None, ...] = (None, None, None)
        if len(own) >= MIN_QUERIES and (labels is None or len(np.unique(labels)) >= MIN_GROUPS):
            drawn = PairedBootstrap({row: figures[row][own] for row in rows}, labels, seed=seed, resamples=resamples)
            of_teacher = product.row, RowName.TEACHER
            intervals = drawn.mean(product.row), drawn.difference(*of_teacher), drawn.ratio(*of_teacher)
        means = {row: float(figures[row][own].mean()) for row in rows}
        others = means.get(product.own_index), means.get(RowName.TEACHER)
        table.append(GroupFigure(name, len(own), means[product.row], *others, *intervals))
    return tuple(sorted(table, key=lambda one: (one.is_too_small, one.lost, one.name)))


def _members(test: EvaluationSet) -> Mapping[str, np.ndarray]:
    """Rows of the queries of each group."""
    if test.grouping is not None:
        return test.grouping.rows
    if test.groups is None:
        return {}
    names, code = np.unique(np.asarray(test.groups, dtype=object).astype(str), return_inverse=True)
    return {str(name): np.flatnonzero(code == position) for position, name in enumerate(names)}
