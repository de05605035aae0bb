"""The student's own vectors of an index's texts, made in the background once somebody wants to see them."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import numpy as np

from alignkit.errors import AlignkitError
from alignkit.indexes.index_rows import Cursor, Id, IndexRows
from alignkit.searching.spaces import Spaces
from alignkit.searching.text_table import TextTable
from alignkit.serving.answers import Answerer
from alignkit.serving.index_pool import IndexPool
from alignkit.serving.request_faults import RequestFault
from alignkit.serving.worker import Worker

logger = logging.getLogger(__name__)

MOST_ROWS = 20_000
# between them, queries have their turn with the student
TEXTS_AT_ONCE = 32
AGAIN_S = 30.0


class StudentRows:
    """Embeds the texts of an index by the student.

    Attributes:
        table: of all of them; `None` while there is none.
        why_not: the reason, in words.

    Args:
        answerer: that has the student.
        pool: that has the index.
    """

    def __init__(self, answerer: Answerer, pool: IndexPool) -> None:
        self.table: TextTable | None = None
        self.why_not: str | None = "the texts of the index are being embedded by the student; try again soon"
        self._pool = pool
        self._worker = Worker[list[str], np.ndarray](answerer.student_documents)
        self._task: asyncio.Task[None] | None = None

    def want(self) -> None:
        """Begin, unless that was done."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._make())

    def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
        self._worker.end()

    async def _make(self) -> None:
        while True:
            try:
                await self._embed()
                return
            except Exception as error:  # else it would be under way for ever
                self.why_not = "the texts of the index could not be embedded by the student; they are tried again"
                # the words of another error may hold a text
                said = error if isinstance(error, AlignkitError | RequestFault) else type(error).__name__
                logger.warning("the student's own vectors of the index: %s", said)
                await asyncio.sleep(AGAIN_S)

    async def _embed(self) -> None:
        refused, rows = await self._pool.run(_refused)
        if refused is not None:
            self.why_not = refused
            return
        ids, parts, after = list[Id](), list[np.ndarray](), None
        while (part := await self._pool.run(partial(_next_rows, after))) is not None:
            self.why_not = f"the texts of the index are being embedded by the student: {len(ids):,} of {rows:,} rows"
            here = [row for row, text in enumerate(part.texts or ()) if text.strip()]
            if here:
                ids += [part.ids[row] for row in here]
                parts.append(await self._student([(part.texts or [])[row] for row in here]))
            after = part.cursor
        if not parts:
            self.why_not = "no row of the index has a text"
            return
        self.table, self.why_not = TextTable(ids, np.concatenate(parts)), None

    async def _student(self, texts: list[str]) -> np.ndarray:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[np.ndarray] = loop.create_future()

        def done(vectors: np.ndarray | None, error: BaseException | None) -> None:
            if not answer.done():
                if vectors is None:
                    answer.set_exception(error or AlignkitError("no vectors"))
                else:
                    answer.set_result(vectors)

        self._worker.call(texts, loop, done)
        return await answer


def _refused(spaces: Spaces) -> tuple[str | None, int]:
    """Why the texts are not embedded, and how many rows there are."""
    rows = spaces.described.rows
    if rows > MOST_ROWS:
        return f"the index has {rows:,} rows, and the student's own vectors are made of at most {MOST_ROWS:,}", rows
    first = next(spaces.index.scan(batch=1), None)
    if first is None or first.texts is None:
        return "the index was opened without texts; name their field: index.text=…", rows
    return None, rows


def _next_rows(after: Cursor, spaces: Spaces) -> IndexRows | None:
    return next(spaces.index.scan(after, TEXTS_AT_ONCE), None)
