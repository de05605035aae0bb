"""Where a head fails: the worst groups, and the worst single queries with what was found instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.evaluation.comparison import Comparison

WORST = 10
TEXT_LENGTH = 160


@dataclass(frozen=True)
class GroupFigure:
    """One intent or domain: its queries, the measure of three rows, averaged."""

    name: str
    queries: int
    aligned: float
    student: float
    teacher: float


@dataclass(frozen=True)
class Failure:
    """One query that the head serves badly.

    Attributes:
        query: its text.
        cosine: of its aligned vector with the teacher's.
        aligned: the measure.
        teacher: the measure.
        found: `(text, cosine, relevant)` of the first hit through the head.
        expected: the same of the teacher's own first hit.
    """

    query: str
    cosine: float
    aligned: float
    teacher: float
    found: tuple[str, float, bool | None]
    expected: tuple[str, float, bool | None]


def worst_groups(comparison: Comparison, most: int = WORST) -> tuple[list[GroupFigure], int]:
    """Groups by what aligned loses against the teacher, most first; and how many groups there are."""
    groups = comparison.test.groups
    if groups is None:
        return [], 0
    figures = comparison.figures[comparison.measure]
    names, code = np.unique(np.asarray(groups, dtype=object).astype(str), return_inverse=True)
    table = []
    for position, name in enumerate(names):
        own = np.flatnonzero(code == position)
        own = own[np.isfinite(figures["aligned"][own])]
        if len(own):
            means = {row: float(figures[row][own].mean()) for row in ("aligned", "student", "teacher")}
            table.append(GroupFigure(str(name), len(own), **means))
    table.sort(key=lambda group: (group.aligned - group.teacher, group.name))
    return table[:most], len(table)


def worst_queries(comparison: Comparison, most: int = WORST) -> list[Failure]:
    """Queries that lose most against the teacher; of equals, those whose aligned vector is furthest off."""
    test = comparison.test
    if test.queries.texts is None or test.corpus.texts is None:
        return []
    figures = comparison.figures[comparison.measure]
    loss = figures["aligned"] - figures["teacher"]
    cosines = comparison.cosines["aligned"]
    order = [row for row in np.lexsort((cosines, loss)) if np.isfinite(loss[row]) and loss[row] < 0]
    hits = {row: _first_hits(comparison, row) for row in ("aligned", "teacher")}
    return [
        Failure(
            query=_short(test.queries.texts[row]),
            cosine=float(cosines[row]),
            aligned=float(figures["aligned"][row]),
            teacher=float(figures["teacher"][row]),
            found=hits["aligned"](row),
            expected=hits["teacher"](row),
        )
        for row in order[:most]
    ]


def _first_hits(comparison: Comparison, name: str) -> Any:
    ranking, test = comparison.rankings[name], comparison.test
    judged = test.judge(ranking.rows[:, :1])
    texts: Sequence[str] = test.corpus.texts or []

    def first(query: int) -> tuple[str, float, bool | None]:
        relevant = None if judged is None else bool(judged.gains[query, 0] > 0)
        return _short(texts[ranking.rows[query, 0]]), float(ranking.scores[query, 0]), relevant

    return first


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 3]}..."
