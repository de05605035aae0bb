"""A random share of the texts that a server is asked for, kept on its own disk for `watch` and `choose`."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import orjson

from alignkit.credentials import redacted
from alignkit.serving.log_folder import MB, LogFolder
from alignkit.serving.worker import Worker

logger = logging.getLogger(__name__)

# a crash loses what came since
FLUSH_S = 1.0
# after the disk has refused
AGAIN_S = 30.0
CLOSE_S = 5.0
# of texts that wait for the disk
MOST_WAITING_BYTES = 4 * MB


class QueryLog:
    """Draws texts and hands them to a thread of its own, once a second; whatever the disk does, requests do not wait.

    Each text is drawn by itself, whatever it says, so that the log is a random sample of what was asked: by a hash of
    the text, a query that many people send would be in it always or never. The generator is seeded by the writer's
    name, so that several processes, and one that starts again and again, do not all draw the same places.

    Args:
        folder: to write to.
        on_written: called with how many texts were kept, and how many were drawn and lost.
        again_s: how long to wait after the disk has refused.
    """

    def __init__(
        self,
        folder: LogFolder,
        on_written: Callable[[int, int], None] = lambda kept, lost: None,
        again_s: float = AGAIN_S,
    ) -> None:
        self.folder = folder
        self.on_written = on_written
        self._share, self._generator = folder.by.share, random.Random(folder.by.writer)  # noqa: S311 -- a sample
        self._skip = self._gap()
        self._waiting: list[dict[str, Any]] = []
        self._waiting_bytes, self._lost = 0, 0
        self._most_waiting = min(MOST_WAITING_BYTES, folder.file_bytes)
        self._again_s, self._again_at = again_s, 0.0
        self._stopped = False
        self._worker: Worker[list[dict[str, Any]], int] = Worker(self._write)
        self._writing: asyncio.Future[None] | None = None

    def take(
        self,
        texts: Sequence[str],
        path: str,
        route: str,
        confidence: np.ndarray | None = None,
        by_teacher: np.ndarray | None = None,
    ) -> None:
        """Keep the texts among these that are drawn, if any.

        Args:
            texts: N, of one request.
            path: that was asked.
            route: which model's vectors were used.
            confidence: `(N,)` of the head.
            by_teacher: `(N,)` bool, the rows whose route is the teacher.
        """
        row = self._skip
        while row < len(texts):
            self._keep(
                {
                    "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "text": texts[row],
                    "path": path,
                    "route": "teacher" if by_teacher is not None and by_teacher[row] else route,
                    "confidence": None if confidence is None else round(float(confidence[row]), 4),
                }
            )
            row += 1 + self._gap()
        self._skip = row - len(texts)

    async def run(self) -> None:
        """Write what was drawn, once a second; runs until cancelled."""
        while True:
            await asyncio.sleep(FLUSH_S)
            await self._flush()

    async def close(self) -> None:
        """Write the rest, if the disk takes it soon, and let the thread end."""
        try:
            async with asyncio.timeout(CLOSE_S):
                if self._writing is not None:
                    await asyncio.shield(self._writing)
                await self._flush()
        except TimeoutError:
            logger.warning("query_log: the disk does not answer; the last texts are lost")
        self._worker.end()

    def _gap(self) -> int:
        """Texts until the next that is kept: a geometric distribution, so that most requests draw nothing."""
        if self._share >= 1:
            return 0
        return int(math.log(1.0 - self._generator.random()) / math.log1p(-self._share))

    def _keep(self, row: dict[str, Any]) -> None:
        size = 4 * len(row["text"])
        if self._waiting_bytes + size > self._most_waiting:
            self._lost += 1
            return
        self._waiting_bytes += size
        self._waiting.append(row)

    async def _flush(self) -> None:
        rows, lost = self._waiting, self._lost
        if not (rows or lost or self.folder.is_due):
            return
        self._waiting, self._waiting_bytes, self._lost = [], 0, 0
        loop = asyncio.get_running_loop()
        self._writing = done = loop.create_future()

        def take(kept: int | None, error: BaseException | None) -> None:
            self._told(error, len(rows), kept or 0)
            self.on_written(kept or 0, lost + len(rows) - (kept or 0))
            if not done.done():
                done.set_result(None)

        self._worker.call(rows, loop, take)
        await asyncio.shield(done)

    def _write(self, rows: list[dict[str, Any]]) -> int:
        """In the thread: how many rows were written."""
        if time.monotonic() < self._again_at:
            return 0
        if not rows:
            self.folder.prune()
            return 0
        # a key that somebody pasted into a query is no part of it
        lines = [orjson.dumps({**row, "text": redacted(row["text"])}, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
        self.folder.append(b"".join(lines))
        return len(lines)

    def _told(self, error: BaseException | None, rows: int, kept: int) -> None:
        if error is not None:
            self._again_at = time.monotonic() + self._again_s
            if not self._stopped:
                # the words of another error may hold a text
                said = error.strerror if isinstance(error, OSError) else type(error).__name__
                logger.error(
                    "query_log: %s cannot be written (%s); the server goes on without a log, and tries again every "
                    "%g s; free some space, or see who may write there",
                    self.folder.folder,
                    said,
                    self._again_s,
                )
            self._stopped = True
        elif self._stopped and kept:
            logger.warning("query_log: %s is written again", self.folder.folder)
            self._stopped = False
