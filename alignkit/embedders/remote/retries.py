"""Retries after transient faults, and what to report if they persist."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from alignkit.embedders.remote.connection import Connection
from alignkit.embedders.remote.server_faults import Backoff, GoneFault, ServerError, SilentFault, TransientFault
from alignkit.servers.untrusted_words import one_line

logger = logging.getLogger(__name__)

# a server that has stopped and is restarted within this time causes no failure
GONE_AFTER_S = 10.0
LONGEST_LOADING_WAIT_S = 10.0

Result = TypeVar("Result")


class Retries:
    """Attempts at the requests of one engine.

    Args:
        connection: to the server.
        restart: how to start such a server.
        loading_s: how long it may take to load its model.
        backoff: how often to retry and how long to wait.
    """

    def __init__(self, connection: Connection, restart: str, loading_s: float, backoff: Backoff) -> None:
        self._where, self._host, self._called = connection.where, connection.host, connection.called
        self._restart = restart
        self._loading_s = loading_s
        self._backoff = backoff
        self._told_until: dict[str, float] = {}

    async def result_of(
        self, request: Callable[[], Awaitable[Result]], most: int | None = None, suspects: bool = True
    ) -> Result:
        """The result of a request, retried after transient faults.

        Args:
            request: sends it.
            most: maximum attempts.
            suspects: whether to retry after faults that the request itself may cause.

        Raises:
            SilentFault: with `most`, if there was no answer at all.
            ServerError: for any other fault that persists.
        """
        failed, started, gone_at = 0, time.monotonic(), 0.0
        while True:
            try:
                return await request()
            except TransientFault as fault:
                failed += 1
                attempts = min(self._backoff.attempts, fault.attempts or self._backoff.attempts)
                if isinstance(fault, GoneFault):
                    gone_at = gone_at or time.monotonic()
                else:
                    gone_at, attempts = 0.0, min(attempts, most or attempts)
                wait_s = self._backoff.wait_s(failed, fault.wait_s)
                left_s = gone_at + GONE_AFTER_S - time.monotonic() if gone_at else wait_s
                loading = fault.loading and time.monotonic() - started < self._loading_s
                if (failed >= attempts and not loading) or left_s <= 0 or (fault.attempts and not suspects):
                    if most is not None and isinstance(fault, SilentFault):
                        raise
                    raise self.given_up(fault, failed) from None
                wait_s = min(wait_s, left_s, LONGEST_LOADING_WAIT_S if loading else left_s)
                self._tell(fault.brief, wait_s, "while it loads" if loading else f"{failed + 1} of {attempts}")
                await asyncio.sleep(wait_s)

    def _tell(self, brief: str, wait_s: float, count: str) -> None:
        """Log one short line; a fault that hits all requests at once is logged only once.

        The server's own words are left out: they may repeat the texts.
        """
        now = time.monotonic()
        if now >= self._told_until.get(brief, 0.0):
            self._told_until[brief] = now + wait_s
            logger.info("%s: %s; again in %.1f s (%s)", one_line(self._host, 24), brief, wait_s, count)

    def given_up(self, fault: TransientFault, attempts: int) -> Exception:
        """The exception to raise if a fault persists."""
        if isinstance(fault, GoneFault):
            return ServerError(
                f"the server at {self._where} is gone ({fault}); {self._restart}",
                "the server is gone",
            )
        if fault.attempts is not None:  # one text may be the cause
            return fault.after(str(fault), brief=fault.brief)
        mend = self._called.in_words(fault.mend)
        return ServerError(f"{self._where} failed {attempts} times in a row: {fault}; {mend}", fault.brief)
