"""The teacher while it is served: asked in its own thread, within a time limit, and never twice for one text."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from alignkit.embedders.base import Embedder
from alignkit.serving.answers import Answer, most_hung
from alignkit.serving.batching import MicroBatcher
from alignkit.serving.request_faults import brief_of
from alignkit.serving.watch import watch_teacher

logger = logging.getLogger(__name__)

# how long the teacher is not asked after a failure; queries would only wait in vain
PAUSE_S = 10.0
# of vectors that are kept
MOST_BYTES = 64 * 1024 * 1024


class LiveTeacher:
    """Gives the teacher's vectors, or says why there are none; it fails without harm to who asks.

    Args:
        ask: texts → vectors; see `Answerer.ask_teacher`.
        teacher: that is asked so.
        timeout_s: for it to answer.
        max_batch_texts: most texts a call.
        max_queue_texts: most texts waiting.
    """

    def __init__(
        self,
        ask: Callable[[list[str]], Answer],
        teacher: Embedder,
        timeout_s: float,
        max_batch_texts: int,
        max_queue_texts: int,
    ) -> None:
        self._timeout_s = timeout_s
        self._batcher = MicroBatcher(
            ask, max_batch_texts, max_queue_texts, call_timeout_s=timeout_s, most_hung=most_hung(teacher)
        )
        self.watch = watch_teacher(teacher)
        self._paused_until = 0.0
        self._kept: OrderedDict[str, np.ndarray] = OrderedDict()

    @property
    def busy(self) -> bool:
        """Whether the teacher is busy."""
        return self._batcher.busy

    @property
    def closed(self) -> str | None:
        """Why it is not asked now; `None` if it is."""
        if self.watch.replaced:
            return "the teacher was replaced by another model"
        if time.monotonic() < self._paused_until:
            return "the teacher failed, and is not asked for a while"
        return None

    def keeps(self, text: str) -> bool:
        """Whether the vector of a text is known, so that the teacher is not asked."""
        return text in self._kept

    async def vectors(self, texts: list[str]) -> tuple[list[np.ndarray | None], str | None]:
        """One vector `(dim,)` for each text, L2-normalised; and why some have none, in words for a client."""
        if self.watch.replaced:
            return [None] * len(texts), self.closed
        missing = list(dict.fromkeys(text for text in texts if text not in self._kept))
        reason = self.closed if missing else None
        if missing and reason is None:
            reason = await self._ask(missing)
        found = [self._kept.get(text) for text in texts]
        self._keep_few(set(texts))
        return found, reason

    async def _ask(self, texts: list[str]) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._batcher.submit(texts)
                await self.watch.after_answer()
        except Exception as error:
            # whatever is wrong with the teacher, the head has an answer
            self._paused_until = time.monotonic() + PAUSE_S
            logger.warning(
                "the teacher gave no vectors (%s); %d texts keep the head's; the teacher is asked again in %g s",
                brief_of(error),
                len(texts),
                PAUSE_S,
            )
            slow = isinstance(error, TimeoutError)
            return f"the teacher took longer than {self._timeout_s:g} s" if slow else "the teacher gave no vector"
        if self.watch.replaced:
            self._kept.clear()
            return self.closed
        for row, text in enumerate(texts):
            if row not in answer.failures:
                self._kept[text] = answer.vectors[row].copy()
        return "the teacher refuses this text" if answer.failures else None

    def _keep_few(self, used: set[str]) -> None:
        for text in used & self._kept.keys():
            self._kept.move_to_end(text)
        size = next(iter(self._kept.values())).nbytes if self._kept else 1
        while len(self._kept) * size > MOST_BYTES:
            self._kept.popitem(last=False)

    async def close(self) -> None:
        """Let the thread end."""
        self.watch.close()
        await self._batcher.close()
