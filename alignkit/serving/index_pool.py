"""The threads in which an index is searched: each has its own connection, where the engine allows several."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from alignkit.errors import AlignkitError
from alignkit.searching.spaces import Spaces, SpacesOf
from alignkit.serving.request_faults import OverloadedFault, RequestFault
from alignkit.serving.worker import Worker

Result = TypeVar("Result")
THREADS = 4
MOST_WAITING = 1024


class IndexPool:
    """Runs searches, each on an index that nobody else uses meanwhile.

    Args:
        opened: makes what keeps an index open; called once for each thread.
        threads: how many searches run side by side.
        timeout_s: for one search and the wait for its turn. A search that takes longer goes on in its thread.
    """

    def __init__(self, opened: Callable[[], SpacesOf], threads: int = THREADS, timeout_s: float = 30.0) -> None:
        self._idle = [Worker[Any, Any](functools.partial(_run, opened())) for _ in range(threads)]
        self._workers = tuple(self._idle)
        self._free = asyncio.Semaphore(threads)
        self._waiting = 0
        self._timeout_s = timeout_s

    @property
    def busy(self) -> bool:
        """Whether a search is running, even one that was given up."""
        return len(self._idle) < len(self._workers)

    async def run(self, work: Callable[[Spaces], Result]) -> Result:
        """What the work returns, called in one of the threads.

        Raises:
            RequestFault: 503 if too many are waiting, 504 if it takes too long.
            AlignkitError: as the work does.
        """
        if self._waiting >= MOST_WAITING:
            raise OverloadedFault("too many searches are waiting", 1)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._free.acquire()
                worker, loop = self._idle.pop(), asyncio.get_running_loop()
                answer: asyncio.Future[Result] = loop.create_future()
                worker.call(work, loop, functools.partial(self._done, worker, answer))
                return await answer
        except TimeoutError:
            raise RequestFault(
                504, f"the index took longer than {self._timeout_s:g} s; try again later", code="index_timeout"
            ) from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Close the indexes and let the threads end."""
        for worker in self._workers:
            worker.call(None, asyncio.get_running_loop(), lambda *_: None)
            worker.end()

    def _done(
        self,
        worker: Worker[Any, Any],
        answer: asyncio.Future[Result],
        result: Result | None,
        error: BaseException | None,
    ) -> None:
        self._idle.append(worker)
        self._free.release()
        if answer.done():  # nobody waits any more
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]


def _run(spaces: SpacesOf, work: Callable[[Spaces], Result] | None) -> Result | None:
    if work is None:
        spaces.close()
        return None
    before = spaces.now()
    try:
        return work(before)
    except AlignkitError:
        # a cut-over since the last look makes a query of the wrong width
        after = spaces.look()
        if after is before:
            raise
        return work(after)
