"""The ways from a query to hits, and the next best one where a way is closed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np

from alignkit.indexes.base import VectorIndex
from alignkit.indexes.filters import Filter
from alignkit.searching.half_moved import nearest_in_both
from alignkit.searching.hits import Hit, nearest, reordered
from alignkit.searching.spaces import Spaces
from alignkit.searching.text_table import TextTable

Route = Literal["head", "cascade", "teacher", "student"]
ROUTES: tuple[Route, ...] = get_args(Route)
NOT_MIGRATED = "the index holds the student's own vectors; the head's need a migrated one (migrate step=copy)"
HALF_MOVED = "the index is half-moved: rows without a new vector are found by the student's"


@dataclass(frozen=True)
class Query:
    """A query as every model sees it.

    Attributes:
        student: `(student_dim,)`.
        head: `(teacher_dim,)`, the student's vector through the head.
        teacher: `(teacher_dim,)`; `None` if it was not asked, or gave none.
    """

    student: np.ndarray
    head: np.ndarray
    teacher: np.ndarray | None = None

    def scaled(self, length: float) -> Query:
        """The vectors in the teacher's space, which have length 1, with another one."""
        if length == 1:
            return self
        return replace(self, head=self.head * length, teacher=None if self.teacher is None else self.teacher * length)


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        hits: best first.
        route: that was really used: that which was asked for, another one, or `mixed`.
        reason: why it is another one.
    """

    hits: list[Hit]
    route: str
    reason: str | None = None


@dataclass(frozen=True)
class Asked:
    """What is asked of an index.

    Attributes:
        route: that shall be used.
        k: hits.
        where: as for `VectorIndex.search`.
        candidates: of the cascade: so many rows the head finds, and the teacher orders.
    """

    route: Route
    k: int
    where: Filter | None = None
    candidates: int = 100


def find(
    spaces: Spaces, query: Query, asked: Asked, table: TextTable | None = None, no_table: str | None = None
) -> Found:
    """The hits by the route that is asked for, or by the next best one.

    Args:
        spaces: the index as it is now.
        query: to be found; without the teacher's vector its routes are those of the head.
        asked: which hits.
        table: the student's own vectors, where the index holds none.
        no_table: why there is no table.
    """
    if asked.route == "student":
        if spaces.student is not None:
            return Found(nearest(spaces.student, query.student, asked.k, asked.where), "student")
        if table is not None:
            dim = spaces.described.dim
            return Found(table.nearest(spaces.index, dim, query.student, asked.k, asked.where), "student")
    query = query.scaled(spaces.length.value)
    if spaces.teacher is None:
        return Found(nearest(spaces.index, query.student, asked.k, asked.where), "student", NOT_MIGRATED)
    by_new, route = _by_new(spaces, spaces.teacher, query, asked)
    if (both := spaces.half_moved) is not None:
        return Found(nearest_in_both(*both, query.student, by_new, asked.k, asked.where), "mixed", HALF_MOVED)
    return Found(by_new(asked.k), route, no_table if asked.route == "student" else None)


def _by_new(spaces: Spaces, index: VectorIndex, query: Query, asked: Asked) -> tuple[Callable[[int], list[Hit]], Route]:
    """How the teacher's space is searched, and by which route that is."""
    if asked.route in ("head", "student") or query.teacher is None:
        return partial(nearest, index, query.head, where=asked.where), "head"
    if asked.route == "teacher":
        return partial(nearest, index, query.teacher, where=asked.where), "teacher"
    return partial(_cascade, spaces, index, query.head, query.teacher, asked), "cascade"


def _cascade(
    spaces: Spaces, index: VectorIndex, head: np.ndarray, teacher: np.ndarray, asked: Asked, k: int
) -> list[Hit]:
    candidates, _ = index.search(head[None], max(asked.candidates, k), asked.where)
    return reordered(index, spaces.described.metric, candidates[0], teacher, k)
