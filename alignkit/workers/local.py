"""This machine: one worker in this very process, or several processes of their own."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

from alignkit.setting_rules import check, whole
from alignkit.workers.base import Finished, Part, Work
from alignkit.workers.doing import close, done_by
from alignkit.workers.process_pool import ProcessPool


class LocalEngine:
    """Does parts on this machine.

    Args:
        workers: 1 stays in this process; more are processes that share the machine's cores.

    Raises:
        ConfigError: if that is no number of workers.
    """

    def __init__(self, workers: int = 1) -> None:
        check({"workers": workers}, {"workers": whole(1)})
        self.workers = workers
        self.underway: dict[int, float] = {}

    def run(self, work: Work, parts: Sequence[Part]) -> Iterator[Finished | None]:
        """See `Engine`."""
        if self.workers > 1:
            return ProcessPool(min(self.workers, len(parts)), self.underway).run(work, parts)
        return self._here(work, parts)

    def _here(self, work: Work, parts: Sequence[Part]) -> Iterator[Finished]:
        do = work.open()
        try:
            for part in parts:
                self.underway[part.number] = time.monotonic()
                yield done_by(do, part, f"process {os.getpid()}")
                del self.underway[part.number]
        finally:
            self.underway.clear()
            close(do)
