"""Whether the models answer, checked at the start and after each failure, without waiting for a client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from alignkit.errors import AlignkitError
from alignkit.serving.request_faults import RequestFault

logger = logging.getLogger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 30.0


class Readiness:
    """Asks the models until they answer, at growing intervals.

    Args:
        probe: asks the models for a vector; raises while they do not answer.
    """

    def __init__(self, probe: Callable[[], Awaitable[object]]) -> None:
        self._probe = probe
        self._words = ""
        self._unknown = asyncio.Event()
        self._unknown.set()

    @property
    def ready(self) -> bool:
        """Whether the models answered the last time."""
        return not self._unknown.is_set()

    def answered(self) -> None:
        """Record that a request was answered."""
        self._unknown.clear()
        if self._words:
            logger.warning("the student answers again")
            self._words = ""

    def failed(self) -> None:
        """Record that a request failed through no fault of its own."""
        self._unknown.set()

    async def watch(self) -> None:
        """Probe whenever the models may not answer; runs until cancelled."""
        while True:
            await self._unknown.wait()
            wait_s = FIRST_WAIT_S
            while not await self._answers():
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
            self.answered()

    async def _answers(self) -> bool:
        if self.ready:  # a request was answered in the meantime
            return True
        try:
            await self._probe()
        except (AlignkitError, RequestFault, TimeoutError) as error:
            # the probe text was sent alone, so the message holds nobody's texts
            self._log(str(error) or type(error).__name__)
            return False
        except Exception as error:
            self._log(type(error).__name__)
            return False
        return True

    def _log(self, words: str) -> None:
        # log the same message once
        if words != self._words:
            logger.warning("the student does not answer: %s", words)
            self._words = words
