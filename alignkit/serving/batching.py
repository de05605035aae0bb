"""Micro-batches: texts that wait while the models are busy go to them together in the next call."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from alignkit.errors import AlignkitError, EmbedderError
from alignkit.serving.answers import Answer, join_answers
from alignkit.serving.request_faults import QueueFullFault, SharedCallError, StuckFault
from alignkit.serving.worker import Worker

Work = Callable[[list[str]], Answer]
# so long the event loop may be held up
QUICK_S = 0.002
# after so many longer ones it hands such batches to a thread again
SLOW_CALLS = 3
# what a text costs a model however short it is, in characters
CHARACTERS_A_TEXT = 32


@dataclass(slots=True, eq=False)
class _Waiting:
    texts: list[str]
    answer: asyncio.Future[Answer]
    alone: bool
    since: float = field(default_factory=time.perf_counter)


@dataclass(slots=True, eq=False)
class _Call:
    batch: list[_Waiting]
    count: int
    size: int
    started: float
    alarm: asyncio.TimerHandle | None = None
    given_up: bool = False


class MicroBatcher:
    """Gathers the texts of many requests into batches for one blocking function in its own thread.

    An idle worker starts at once with the texts of the loop's current turn; a busy one later takes all that arrived.
    So a lone request waits for nothing, and under load batches grow by themselves. `wait_s` makes an idle worker
    wait for more, for models whose cost lies in the call rather than in the texts. A request with more texts than a
    batch holds goes in parts, each once the one before is answered, so that others come in between.

    Where models cannot hang, the loop itself answers a batch no larger than those that took less than `QUICK_S`.
    Through sockets, that saves a tenth of the server's processor time for single texts from 32 connections, a sixth
    from one, and a fifth for 64 texts a request.

    Args:
        work: texts → answer; runs in the worker thread.
        max_batch_texts: most texts per call.
        max_queue_texts: most texts waiting, the rest of a request that goes in parts included; beyond it a request is
            turned away. One that is larger by itself is taken when nothing waits.
        wait_s: longest wait of the oldest request for company, 0 for none.
        call_timeout_s: a call that takes longer is given up, which does not end it: its thread goes on.
        most_hung: with so many calls given up and still running, requests are turned away until one returns. 1 for
            models that two threads must not call at once; with more, the next call has a new thread meanwhile.
        on_batch: called with the number of texts of each batch.
        may_hold_loop: whether the models cannot hang, so that the loop may call them itself.
    """

    def __init__(
        self,
        work: Work,
        max_batch_texts: int = 256,
        max_queue_texts: int = 8192,
        wait_s: float = 0.0,
        call_timeout_s: float = 120.0,
        most_hung: int = 1,
        on_batch: Callable[[int], None] = lambda texts: None,
        may_hold_loop: bool = False,
    ) -> None:
        self._work = work
        self._max_batch_texts = max_batch_texts
        self._max_queue_texts = max_queue_texts
        self._wait_s = wait_s
        self._call_timeout_s = call_timeout_s
        self._most_hung = most_hung
        self._on_batch = on_batch
        self._queue: deque[_Waiting] = deque()
        self._queued_texts = 0
        self._running: _Call | None = None
        self._hung = 0
        self._alarm: asyncio.Handle | None = None
        self._texts_per_s = 0.0
        self._may_hold_loop = may_hold_loop
        self._quick_size = 0  # of the batches that were answered within QUICK_S
        self._slow_calls = 0  # one after the other, of batches no larger than that
        self._worker: Worker[list[str], Answer] | None = None

    @property
    def queued_texts(self) -> int:
        """Texts that wait for the worker."""
        return self._queued_texts

    @property
    def busy(self) -> bool:
        """Whether a call is running, even one that was given up."""
        return self._running is not None or self._hung > 0

    async def submit(self, texts: list[str], alone: bool = False) -> Answer:
        """Answer these texts.

        Args:
            texts: of one request.
            alone: in a batch of their own.

        Raises:
            QueueFullFault: if too many texts are waiting.
            StuckFault: if the models have not returned from earlier calls.
            AlignkitError: if the models failed for a reason other than the texts.
        """
        if self._hung >= self._most_hung:
            raise StuckFault()
        # a request larger than the queue is accepted when nothing waits; otherwise it never would be
        if self._queued_texts and self._queued_texts + len(texts) > self._max_queue_texts:
            raise QueueFullFault(self._retry_after_s())
        self._queued_texts += len(texts)
        if len(texts) <= self._max_batch_texts:
            return await self._submit_part(texts, alone)
        answers = []
        left = len(texts)
        try:
            for start in range(0, len(texts), self._max_batch_texts):
                part = texts[start : start + self._max_batch_texts]
                left -= len(part)
                answers.append(await self._submit_part(part, alone))
        finally:
            self._queued_texts -= left
        return join_answers(answers)

    async def close(self, wait_s: float = 30.0) -> None:
        """Finish within that time what somebody waits for, then let the thread end."""
        deadline = time.monotonic() + wait_s
        while self._is_awaited() and time.monotonic() < deadline:
            await asyncio.sleep(0.005)
        if self._worker is not None:
            self._worker.end()
            self._worker = None

    def _is_awaited(self) -> bool:
        taken = self._running.batch if self._running is not None else []
        return not all(waiting.answer.done() for waiting in (*taken, *self._queue))

    async def _submit_part(self, texts: list[str], alone: bool) -> Answer:
        waiting = _Waiting(texts, asyncio.get_running_loop().create_future(), alone)
        self._queue.append(waiting)
        self._arrange()
        try:
            return await waiting.answer
        except asyncio.CancelledError:
            # texts that nobody waits for any more must not take up room
            with contextlib.suppress(ValueError):
                self._queue.remove(waiting)
                self._queued_texts -= len(texts)
            raise

    def _arrange(self) -> None:
        """Start the next batch as soon as it is due."""
        if self._running is not None or not self._queue or self._hung >= self._most_hung:
            return
        loop = asyncio.get_running_loop()
        full = self._queued_texts >= self._max_batch_texts
        if self._alarm is not None:
            if not full:
                return
            self._alarm.cancel()
        left = 0.0 if full else self._wait_s - (time.perf_counter() - self._queue[0].since)
        # call_soon, so that other requests that the loop has already read join the batch
        self._alarm = loop.call_later(left, self._start) if left > 0 else loop.call_soon(self._start)

    def _start(self) -> None:
        self._alarm = None
        batch = self._take()
        if not batch:
            return
        texts = batch[0].texts if len(batch) == 1 else [text for waiting in batch for text in waiting.texts]
        self._on_batch(len(texts))
        loop = asyncio.get_running_loop()
        self._running = call = _Call(batch, len(texts), _size(texts), time.perf_counter())
        if call.size <= self._quick_size:
            self._finish(call, *self._answer_now(texts))
            return
        if self._worker is None:
            self._worker = Worker(self._work)
        call.alarm = loop.call_later(self._call_timeout_s, self._give_up, call)
        self._worker.call(texts, loop, functools.partial(self._finish, call))

    def _answer_now(self, texts: list[str]) -> tuple[Answer | None, BaseException | None]:
        try:
            return self._work(texts), None
        except Exception as error:  # noqa: BLE001 -- any error goes to whoever waits
            return None, error

    def _note_speed(self, size: int, seconds: float) -> None:
        if seconds <= QUICK_S:
            self._quick_size, self._slow_calls = max(self._quick_size, size), 0
        elif size <= self._quick_size:
            # one slow call may only have waited for the processor
            self._slow_calls += 1
            if self._slow_calls == SLOW_CALLS:
                self._quick_size, self._slow_calls = size // 2, 0

    def _take(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        count = 0
        while self._queue:
            waiting = self._queue[0]
            if batch and (waiting.alone or count + len(waiting.texts) > self._max_batch_texts):
                break
            self._queue.popleft()
            self._queued_texts -= len(waiting.texts)
            if waiting.answer.done():  # the request was given up
                continue
            batch.append(waiting)
            count += len(waiting.texts)
            if waiting.alone:
                break
        return batch

    def _finish(self, call: _Call, answer: Answer | None, error: BaseException | None) -> None:
        if call.given_up:
            self._hung -= 1
            self._arrange()
            return
        if call.alarm is not None:
            call.alarm.cancel()
        self._running = None
        seconds = max(time.perf_counter() - call.started, 1e-6)
        if self._may_hold_loop:
            self._note_speed(call.size, seconds)
        rate = call.count / seconds
        self._texts_per_s = rate if self._texts_per_s == 0 else 0.9 * self._texts_per_s + 0.1 * rate
        if answer is not None:
            _share(answer, call.batch)
        elif error is not None:
            self._fail(call.batch, error)
        self._arrange()

    def _give_up(self, call: _Call) -> None:
        call.given_up = True
        self._hung += 1
        self._running = None
        if self._worker is not None:
            self._worker.end()
            self._worker = None
        self._fail(call.batch, EmbedderError(f"no answer within {self._call_timeout_s:g} s"))
        self._arrange()

    def _fail(self, batch: list[_Waiting], error: BaseException) -> None:
        if len(batch) > 1 and not isinstance(error, AlignkitError):
            # not an error that models announce: one request may have caused it, so each is tried alone
            for waiting in reversed(batch):
                waiting.alone = True
                self._queue.appendleft(waiting)
                self._queued_texts += len(waiting.texts)
            return
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error if len(batch) == 1 else SharedCallError(error))

    def _retry_after_s(self) -> int:
        seconds = self._queued_texts / self._texts_per_s if self._texts_per_s else 1.0
        return max(1, min(60, math.ceil(seconds)))


def _size(texts: list[str]) -> int:
    return sum(map(len, texts)) + CHARACTERS_A_TEXT * len(texts)


def _share(answer: Answer, batch: list[_Waiting]) -> None:
    start = 0
    for waiting in batch:
        stop = start + len(waiting.texts)
        if not waiting.answer.done():
            waiting.answer.set_result(answer if len(batch) == 1 else answer.part(start, stop))
        start = stop
