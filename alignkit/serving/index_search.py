"""A query's way through the models and the index."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from alignkit.errors import AlignkitError
from alignkit.indexes.filters import Filter, FilterError
from alignkit.searching.hits import Hit
from alignkit.searching.search_routes import HALF_MOVED, NOT_MIGRATED, ROUTES, Asked, Query, Route, find
from alignkit.searching.spaces import Spaces
from alignkit.serving.answers import Answer
from alignkit.serving.index_pool import IndexPool
from alignkit.serving.live_teacher import LiveTeacher
from alignkit.serving.request_faults import RequestFault
from alignkit.serving.student_rows import StudentRows

logger = logging.getLogger(__name__)

NO_TEACHER = "no teacher is served; start with teacher=… (fallback=teacher takes the head's own)"


@dataclass(frozen=True)
class SearchAnswer:
    """Hits and how they were found; see `Found`.

    Attributes:
        confidence: of the head in this query, in [0, 1]; `None` if it does not estimate it.
        embed_s: that the models took.
        search_s: that the index took, the wait for its turn included.
        kept: whether the teacher's vector was known from an earlier search, so that `embed_s` does not hold its time.
    """

    hits: list[Hit]
    route: str
    reason: str | None
    confidence: float | None
    embed_s: float
    search_s: float
    kept: bool = False


class Search:
    """Searches one index with one head.

    Args:
        embed: texts → the head's answer, with the student's vectors.
        pool: that has the index.
        rows: the student's own vectors of it.
        teacher: for its routes, and for queries that the head is unsure of.
        below: the confidence below which the teacher is asked; `None` for never.
        candidates: of the cascade.
    """

    def __init__(
        self,
        embed: Callable[[list[str]], Awaitable[Answer]],
        pool: IndexPool,
        rows: StudentRows,
        teacher: LiveTeacher | None = None,
        below: float | None = None,
        candidates: int = 100,
    ) -> None:
        self.pool = pool
        self._embed, self._rows, self._teacher = embed, rows, teacher
        self._below, self._candidates = below, candidates
        self._told = False

    async def find(self, query: str, k: int, where: Filter | None, route: Route) -> SearchAnswer:
        """The hits of a checked query.

        Raises:
            RequestFault: if the student or the index fails; its words are for the client.
            FilterError: if the filter does not fit the index.
        """
        started = time.perf_counter()
        kept = self._teacher is not None and self._teacher.keeps(query)
        asked_too = asyncio.ensure_future(self._by_teacher(query)) if route in ("teacher", "cascade") else None
        try:
            answer = await self._embed([query])
        except BaseException:
            if asked_too is not None:
                asked_too.cancel()
            raise
        sure = None if answer.confidence is None else float(answer.confidence[0])
        teacher, reason = (None, None) if asked_too is None else await asked_too
        wanted = route
        if route == "head" and self._below is not None and sure is not None and sure < self._below:
            teacher, reason = await self._by_teacher(query)
            unsure = f"the head's confidence, {sure:.2f}, is below {self._below:g}"
            wanted, reason = ("head", f"{unsure}, but {reason}") if teacher is None else ("teacher", unsure)
        if answer.student is None:  # an answerer that keeps none
            raise RequestFault(500, "internal error; see the server's log")
        vectors = Query(answer.student[0], answer.vectors[0], teacher)
        embedded = time.perf_counter()
        asked = Asked(wanted, k, where, self._candidates)
        found = await self._run(partial(find, query=vectors, asked=asked, table=self._rows.table,
                                        no_table=self._rows.why_not))  # fmt: skip
        ended = time.perf_counter()
        if route == "student" and found.route != "student":
            self._rows.want()
        why = found.reason or reason
        kept = kept and teacher is not None
        return SearchAnswer(found.hits, found.route, why, sure, embedded - started, ended - embedded, kept)

    async def about(self) -> dict[str, Any]:
        """What there is: each route with the reason why it is closed, the index, its fields."""
        spaces, described = await self._run(_described)
        closed: dict[str, str | None] = dict.fromkeys(ROUTES)
        if spaces.student is None:
            self._rows.want()
            closed["student"] = self._rows.why_not
        no_teacher = NO_TEACHER if self._teacher is None else self._teacher.closed
        closed["teacher"] = closed["cascade"] = no_teacher
        if spaces.teacher is None:
            closed |= dict.fromkeys(("head", "cascade", "teacher"), NOT_MIGRATED)
        index = {
            "place": described.place,
            "rows": described.rows,
            "dim": described.dim,
            "metric": described.metric,
            "stage": spaces.stage,
            "mixed": HALF_MOVED if spaces.half_moved is not None else None,
        }
        return {"routes": closed, "index": index, "fields": list(described.fields), "candidates": self._candidates}

    def close(self) -> None:
        """Let the threads end."""
        self._rows.close()
        self.pool.close()

    async def _by_teacher(self, query: str) -> tuple[Any, str | None]:
        if self._teacher is None:
            return None, NO_TEACHER
        found, reason = await self._teacher.vectors([query])
        return found[0], reason

    async def _run(self, work: Callable[[Spaces], Any]) -> Any:
        try:
            result = await self.pool.run(work)
        except FilterError:
            raise
        except AlignkitError as error:
            # the client learns what it can do; what the engine said is for the operator
            if not self._told:
                logger.warning("the index failed: %s", error)
            self._told = True
            raise RequestFault(
                503,
                "the index behind this server does not answer; try again later",
                code="index_error",
                headers={"retry-after": "5"},
            ) from None
        if self._told:
            logger.warning("the index answers again")
        self._told = False
        return result


def _described(spaces: Spaces) -> tuple[Spaces, Any]:
    return spaces, spaces.index.describe()
