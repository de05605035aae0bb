"""Micro-batches: what waits while the models are busy goes to them together next."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from alignkit.errors import AlignkitError
from alignkit.serving.answers import Answer
from alignkit.serving.faults import QueueFullFault

Work = Callable[[list[str]], Answer]


@dataclass(slots=True, eq=False)
class _Waiting:
    texts: list[str]
    answer: asyncio.Future[Answer]
    since: float = field(default_factory=time.perf_counter)
    alone: bool = False


class MicroBatcher:
    """Gathers the texts of many requests into batches for one blocking function in a thread of its own.

    An idle worker starts at once with what the loop's current turn brought; a busy one finds all that came meanwhile.
    So a lone request waits for nothing, and under load batches grow by themselves. `wait_s` makes an idle worker
    wait for more, for models whose cost lies in the call rather than in the texts.

    Args:
        work: texts → answer; runs in the worker thread.
        max_batch_texts: most texts a call, unless one request alone has more.
        max_queue_texts: most texts waiting; beyond it a request is turned away.
        wait_s: longest wait of the oldest request for company, 0 for none.
        on_batch: told the number of texts of each batch.
    """

    def __init__(
        self,
        work: Work,
        max_batch_texts: int = 256,
        max_queue_texts: int = 8192,
        wait_s: float = 0.0,
        on_batch: Callable[[int], None] = lambda texts: None,
    ) -> None:
        self._work = work
        self._max_batch_texts = max_batch_texts
        self._max_queue_texts = max_queue_texts
        self._wait_s = wait_s
        self._on_batch = on_batch
        self._queue: deque[_Waiting] = deque()
        self._queued_texts = 0
        self._busy = False
        self._alarm: asyncio.Handle | None = None
        self._texts_per_s = 0.0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="alignkit-embed")

    @property
    def queued_texts(self) -> int:
        """Texts that wait for the worker."""
        return self._queued_texts

    async def submit(self, texts: list[str]) -> Answer:
        """The answer to these texts.

        Raises:
            QueueFullFault: if too many texts wait already.
            AlignkitError: if the models failed, whatever the texts.
        """
        # a request larger than the queue is taken when nothing waits, or it never would be
        if self._queue and self._queued_texts + len(texts) > self._max_queue_texts:
            raise QueueFullFault(self._retry_after_s())
        waiting = _Waiting(texts, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._queued_texts += len(texts)
        self._arrange()
        return await waiting.answer

    async def close(self) -> None:
        """Finish what was taken, then end the thread."""
        while self._queue or self._busy:
            await asyncio.sleep(0.005)
        self._pool.shutdown(wait=True)

    def _arrange(self) -> None:
        """Have the next batch start as soon as it should."""
        if self._busy or not self._queue:
            return
        loop = asyncio.get_running_loop()
        full = self._queued_texts >= self._max_batch_texts
        if self._alarm is not None:
            if not full:
                return
            self._alarm.cancel()
        left = 0.0 if full else self._wait_s - (time.perf_counter() - self._queue[0].since)
        # call_soon, not at once: other requests that the loop has read already come along
        self._alarm = loop.call_later(left, self._start) if left > 0 else loop.call_soon(self._start)

    def _start(self) -> None:
        self._alarm = None
        batch = self._take()
        if not batch:
            return
        self._busy = True
        texts = batch[0].texts if len(batch) == 1 else [text for waiting in batch for text in waiting.texts]
        self._on_batch(len(texts))
        started = time.perf_counter()
        running = asyncio.get_running_loop().run_in_executor(self._pool, self._work, texts)
        running.add_done_callback(lambda done: self._finish(done, batch, len(texts), started))

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        count = 0
        while self._queue:
            waiting = self._queue[0]
            if batch and (waiting.alone or count + len(waiting.texts) > self._max_batch_texts):
                break
            self._queue.popleft()
            self._queued_texts -= len(waiting.texts)
            if waiting.answer.done():  # its request was given up
                continue
            batch.append(waiting)
            count += len(waiting.texts)
            if waiting.alone:
                break
        return batch

    def _finish(self, done: asyncio.Future[Answer], batch: list[_Waiting], count: int, started: float) -> None:
        self._busy = False
        rate = count / max(time.perf_counter() - started, 1e-6)
        self._texts_per_s = rate if self._texts_per_s == 0 else 0.9 * self._texts_per_s + 0.1 * rate
        error = done.exception()
        if error is None:
            _share(done.result(), batch)
        elif len(batch) > 1 and not isinstance(error, AlignkitError):
            # no error that models announce: one request may have caused it, so each is tried by itself
            self._put_back_apart(batch)
        else:
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(error)
        self._arrange()

    def _put_back_apart(self, batch: list[_Waiting]) -> None:
        for waiting in reversed(batch):
            waiting.alone = True
            self._queue.appendleft(waiting)
            self._queued_texts += len(waiting.texts)

    def _retry_after_s(self) -> int:
        seconds = self._queued_texts / self._texts_per_s if self._texts_per_s else 1.0
        return max(1, min(60, math.ceil(seconds)))


def _share(answer: Answer, batch: list[_Waiting]) -> None:
    start = 0
    for waiting in batch:
        stop = start + len(waiting.texts)
        if not waiting.answer.done():
            waiting.answer.set_result(answer if len(batch) == 1 else answer.part(start, stop))
        start = stop
