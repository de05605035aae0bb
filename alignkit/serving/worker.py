"""The thread in which the models run: one call at a time, and a hanging call does not keep the process alive."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


class Worker(Generic[Given, Result]):
    """A daemon thread. Python waits for threads of `concurrent.futures` at exit, however long they hang.

    Args:
        work: the function to call.
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
        """Call the function; `done(result, error)` is then called in the loop, unless it is closed."""
        self._calls.put((given, loop, done))

    def end(self) -> None:
        """End the thread after the calls it was given."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            given, loop, done = call
            result, failure = None, None
            try:
                result = self._work(given)
            except BaseException as error:  # any error goes to whoever waits
                failure = error
            try:
                loop.call_soon_threadsafe(done, result, failure)
            except RuntimeError:  # the loop is closed, so nobody waits
                pass
            # hold nothing of the last call while waiting
            del call, given, loop, done, result, failure
