"""The thread in which the models run: one call at a time, and one that hangs does not keep the process from ending."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


class Worker(Generic[Given, Result]):
    """A daemon thread: those of `concurrent.futures` are waited for when the process ends, however long they hang.

    Args:
        work: what it does.
    """

    def __init__(self, work: Callable[[Given], Result]) -> None:
        self._work = work
        self._calls: queue.SimpleQueue[tuple[Given, asyncio.AbstractEventLoop, Callable[..., object]] | None]
        self._calls = queue.SimpleQueue()
        threading.Thread(target=self._run, name="alignkit-embed", daemon=True).start()

    def call(
        self,
        given: Given,
        loop: asyncio.AbstractEventLoop,
        done: Callable[[Result | None, BaseException | None], object],
    ) -> None:
        """Do the work; `done(result, error)` is called in the loop, unless that is closed by then."""
        self._calls.put((given, loop, done))

    def end(self) -> None:
        """End the thread after the calls that it was given."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            given, loop, done = call
            result, failure = None, None
            try:
                result = self._work(given)
            except BaseException as error:  # whoever waits is told, whatever it was
                failure = error
            try:
                loop.call_soon_threadsafe(done, result, failure)
            except RuntimeError:  # the loop is closed: nobody waits
                pass
            # while the thread waits, it shall hold nothing of the last call
            del call, given, loop, done, result, failure
