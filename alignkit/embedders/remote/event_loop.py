"""One asyncio event loop in its own thread, so that synchronous callers can send concurrent requests."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from alignkit.errors import EmbedderError

Result = TypeVar("Result")
# on Windows, Ctrl-C cannot interrupt a wait without a timeout
POLL_S = 0.5


class BackgroundLoop:
    """Runs coroutines for any number of threads; its own thread starts with the object and ends with `close`.

    An `anyio` portal is similar, but its `call` waits without a timeout, which Ctrl-C cannot interrupt on Windows. It
    also calls back in the caller's thread while a cancelled coroutine is still cleaning up; here `on_end` comes last.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._submitting = threading.Lock()
        self._closing = False
        self._given: weakref.WeakSet[Coroutine[Any, Any, Any]] = weakref.WeakSet()
        self._thread = threading.Thread(target=self._loop.run_forever, name="alignkit-http", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for a coroutine's result; its exception is raised here, and an interrupted wait cancels it.

        Raises:
            EmbedderError: if the loop is closed, or closes before the coroutine has ended.
        """
        with self._submitting:
            self._take(work)
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return _wait_for(future)
        except CancelledError:
            raise EmbedderError("the embedder was closed while it waited for the server") from None

    def start(
        self, work: Coroutine[Any, Any, None], on_end: Callable[[BaseException | None], None]
    ) -> Callable[[], None]:
        """Start a coroutine without waiting.

        Args:
            work: the coroutine.
            on_end: always called exactly once, in the loop's thread, with what the coroutine raised.

        Returns:
            A function that cancels it; it does nothing once the coroutine has ended.

        Raises:
            EmbedderError: if the loop is closed.
        """
        started: list[asyncio.Task[None]] = []

        def begin() -> None:
            task = self._loop.create_task(work)
            task.add_done_callback(lambda ended: on_end(_exception_of(ended)))
            started.append(task)

        with self._submitting:
            self._take(work)
            self._loop.call_soon_threadsafe(begin)
        # runs after `begin`, so the task exists
        return lambda: self.call(lambda: started[0].cancel())

    def call(self, function: Callable[[], object]) -> None:
        """Call a plain function in the loop's thread; nothing happens once the loop is closed."""
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Cancel running coroutines, wait for them, run `last`, and free the loop and its thread.

        Whatever another thread submits meanwhile is either cancelled here or refused: nothing waits for ever.
        """
        with self._submitting:
            self._closing = True
        _wait_for(asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop))
        _wait_for(asyncio.run_coroutine_threadsafe(last, self._loop))
        # what an abandoned asynchronous generator still has to clean up
        _wait_for(asyncio.run_coroutine_threadsafe(self._loop.shutdown_asyncgens(), self._loop))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _take(self, work: Coroutine[Any, Any, Any]) -> None:
        if self._closing:
            work.close()
            raise EmbedderError("the embedder is closed")
        self._given.add(work)

    async def _cancel_all(self) -> None:
        # Only what was given is cancelled, and ends what it started: a task of anyio's that is cancelled by others
        # before it has begun leaves a coroutine that was never awaited.
        await _cancelled({task for task in _others() if task.get_coro() in self._given})
        # what was started and left alone
        while others := _others():
            await _cancelled(others)


def _wait_for(future: Future[Result]) -> Result:
    try:
        while True:
            try:
                return future.result(timeout=POLL_S)
            except TimeoutError:
                if future.done():  # raised by the coroutine itself
                    raise
    finally:
        future.cancel()


def _others() -> set[asyncio.Task[Any]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _exception_of(task: asyncio.Task[None]) -> BaseException | None:
    return asyncio.CancelledError() if task.cancelled() else task.exception()
