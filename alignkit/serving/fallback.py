"""The teacher for the queries that the head is least sure of, and never at the cost of the others."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace

import numpy as np

from alignkit.embedders.base import Embedder
from alignkit.serving.answers import Answer, Answerer, most_hung
from alignkit.serving.batching import MicroBatcher
from alignkit.serving.request_faults import brief_of
from alignkit.serving.watch import watch_teacher

logger = logging.getLogger(__name__)

# how long the teacher is not asked after a failure; queries would only wait in vain
PAUSE_S = 10.0


class Fallback:
    """Puts the teacher's vectors into answers; if it fails, is slow, pauses or was replaced, the head's own are kept.

    The teacher has its own queue and thread, so a query that the head is sure of never waits for it.

    Args:
        answerer: the head's.
        teacher: its teacher.
        timeout_s: for the teacher to answer.
        max_batch_texts: most texts a call.
        max_queue_texts: most texts waiting.
    """

    def __init__(
        self, answerer: Answerer, teacher: Embedder, timeout_s: float, max_batch_texts: int, max_queue_texts: int
    ) -> None:
        self._below = answerer.fallback_below
        self._timeout_s = timeout_s
        self._batcher = MicroBatcher(
            answerer.ask_teacher,
            max_batch_texts,
            max_queue_texts,
            call_timeout_s=timeout_s,
            most_hung=most_hung(teacher),
        )
        self.watch = watch_teacher(teacher)
        self._paused_until = 0.0

    @property
    def busy(self) -> bool:
        """Whether the teacher is busy."""
        return self._batcher.busy

    async def improve(self, texts: list[str], answer: Answer) -> Answer:
        """The same answer, with the teacher's vectors where the head is unsure."""
        if answer.confidence is None or time.monotonic() < self._paused_until or self.watch.replaced:
            return answer
        rows = np.array([row for row in np.flatnonzero(answer.confidence < self._below) if row not in answer.failures])
        if not len(rows):
            return answer
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._batcher.submit([texts[row] for row in rows])
                await self.watch.after_answer()
        except Exception as error:
            # an unsure vector is better than none, whatever is wrong with the teacher
            self._paused_until = time.monotonic() + PAUSE_S
            logger.warning(
                "the teacher gave no vectors (%s); %d texts keep the head's; the teacher is asked again in %g s",
                brief_of(error),
                len(rows),
                PAUSE_S,
            )
            return answer
        if self.watch.replaced:
            return answer
        found_rows = [place for place in range(len(rows)) if place not in found.failures]
        vectors, by_teacher = answer.vectors.copy(), np.zeros(len(texts), dtype=bool)
        vectors[rows[found_rows]] = found.vectors[found_rows]
        by_teacher[rows[found_rows]] = True
        return replace(answer, vectors=vectors, by_teacher=by_teacher, batch=None)

    async def close(self) -> None:
        """Let the thread end."""
        self.watch.close()
        await self._batcher.close()
