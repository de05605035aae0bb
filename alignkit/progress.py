"""How far a long job is: a bar where somebody looks at a terminal, a line every so often where nobody does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

logger = logging.getLogger("alignkit.progress")

# a short job needs no line at all; a long one gets one at first every half minute, after hours every five
FIRST_LINE_S = 5.0
LINE_EVERY_S = 30.0
LONGEST_PAUSE_S = 300.0
_shown: ContextVar[bool] = ContextVar("shown", default=True)


class Counted:
    """What is done of what. Threads may share it.

    Args:
        name: of the job, such as `teacher`.
        unit: of what is counted, such as `texts`.

    Attributes:
        note: what else is worth showing.
    """

    def __init__(self, name: str, unit: str) -> None:
        self.name, self.unit = name, unit
        self.done = 0
        self.total: int | None = None
        self.note = ""
        self._begun: tuple[float, int] | None = None

    def begin(self, total: int | None, done: int = 0) -> None:
        """Say how much there is, and how much of it was there before."""
        self.total, self.done, self._begun = total, done, None

    def advance(self, count: int = 1) -> None:
        """So much more is done."""
        self.done += count
        if self._begun is None:  # until the first answer a server may have loaded its model: no measure of its speed
            self._begun = time.monotonic(), self.done

    def rate(self) -> float | None:
        """Units a second since the first of them was done; None while that cannot be told."""
        if self._begun is None:
            return None
        seconds, count = time.monotonic() - self._begun[0], self.done - self._begun[1]
        return count / seconds if seconds > 0 and count > 0 else None

    def left_s(self) -> float | None:
        """Seconds left at this rate; None while that cannot be told."""
        rate = self.rate()
        return None if rate is None or self.total is None else (self.total - self.done) / rate

    def line(self) -> str:
        """All of it in words."""
        words = f"{self.name}: {self.done:,} {self.unit}"
        if self.total is not None:
            words = f"{self.name}: {self.done:,} of {self.total:,} {self.unit}"
        rate, left_s = self.rate(), self.left_s()
        if rate is not None:
            words += f", {rate:,.0f} {self.unit}/s" if rate >= 10 else f", {rate:.1f} {self.unit}/s"
        if left_s is not None:
            words += f", {duration(left_s)} left"
        return f"{words}, {self.note}" if self.note else words


@contextmanager
def progress(name: str, unit: str) -> Iterator[Counted]:
    """Show how far a job is while the block runs.

    Args:
        name: of the job.
        unit: of what is counted.

    Yields:
        To be told what is done.
    """
    counted = Counted(name, unit)
    if not _shown.get():
        yield counted
        return
    from rich.console import Console

    console = Console(stderr=True)
    stop = threading.Event()
    show = _draw if console.is_terminal else _tell
    shower = threading.Thread(target=show, args=(counted, stop, console), name="progress", daemon=True)
    shower.start()
    try:
        yield counted
    finally:
        stop.set()
        shower.join()


@contextmanager
def no_progress() -> Iterator[None]:
    """Show nothing of any job while the block runs."""
    token = _shown.set(False)
    try:
        yield
    finally:
        _shown.reset(token)


def _tell(counted: Counted, stop: threading.Event, console: Any) -> None:
    started, pause = time.monotonic(), FIRST_LINE_S
    while not stop.wait(pause):
        logger.info(counted.line())
        pause = min(LONGEST_PAUSE_S, max(LINE_EVERY_S, (time.monotonic() - started) / 20))


def _draw(counted: Counted, stop: threading.Event, console: Any) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn(counted.name),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(counted.name, total=None, rate="", left="", note="")
        while not stop.wait(0.1):
            rate, left_s = counted.rate(), counted.left_s()
            bar.update(
                task,
                completed=counted.done,
                total=counted.total,
                rate="" if rate is None else f"{rate:,.0f} {counted.unit}/s",
                note=counted.note,
                left="" if left_s is None else f"{duration(left_s)} left",
            )


def duration(seconds: float) -> str:
    """A span of time in its natural unit.

    >>> duration(20), duration(5400), duration(300_000)
    ('20 s', '1.5 h', '3.47 days')
    """
    units = ((86_400, "days"), (3_600, "h"), (60, "min"))
    size, unit = next(((size, unit) for size, unit in units if seconds >= 1.5 * size), (1, "s"))
    return f"{seconds / size:.3g} {unit}"
