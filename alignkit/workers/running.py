"""Runs a job: gives the parts that are left to an engine, keeps what is done, and says how fast it goes."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from alignkit.errors import AlignkitError
from alignkit.workers.base import Engine, Finished, Outcome, Part, Work
from alignkit.workers.manifest import Manifest

logger = logging.getLogger(__name__)

# if nothing but failures comes, the rest would fail too
MOST_FAILURES = 10
# a part that takes so many times as long as the others, and at least so long, is named
LATE, LATE_S = 4.0, 60.0


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        done: in units of a part's size, earlier runs included.
        size: of the whole job.
        earlier: what was done before this run.
        rates: worker → units a second while it was at work.
    """

    done: int
    size: int
    earlier: int
    rates: dict[str, float]

    def note(self) -> str:
        """The workers in a few words; "" for one worker.

        >>> Progress(0, 0, 0, {"process 7": 90.0, "process 8": 40.0}).note()
        '2 workers, slowest process 8 (40/s)'
        """
        if len(self.rates) < 2:  # noqa: PLR2004
            return ""
        name, rate = min(self.rates.items(), key=lambda one: one[1])
        return f"{len(self.rates)} workers, slowest {name} ({rate:,.0f}/s)"


def run(
    work: Work, manifest: Manifest, engine: Engine, on_progress: Callable[[Progress], None] = lambda progress: None
) -> Outcome:
    """Do all parts that are not done yet.

    A part that fails is left out, the others go on. Interrupted or killed, what is done stays; the same call goes on,
    with another engine too.

    Args:
        work: what is done with each part.
        manifest: of the parts; what is done is kept there.
        engine: where it is done.
        on_progress: called at first, and whenever a part is done.

    Returns:
        All results, and the parts that failed.

    Raises:
        AlignkitError: if there are no workers, or none can load what the parts need.
    """
    with manifest.alone():
        left = manifest.left(work.output)
        watch = _Watch(manifest, left)
        on_progress(watch.progress())
        failed: dict[int, str] = {}
        stopped = False
        if left:
            with closing(engine.run(work, left)) as finished:  # type: ignore[type-var]
                for one in finished:
                    if one is not None:
                        _take(one, manifest, failed, watch)
                        on_progress(watch.progress())
                    watch.name_late(engine)
                    if stopped := not watch.taken and len(failed) >= max(MOST_FAILURES, engine.workers):
                        break
        watch.name_slow()
        rest = len(manifest.parts) - len(manifest.done) - len(failed)
        return Outcome(dict(manifest.done), failed, rest if stopped else 0)


def _take(one: Finished, manifest: Manifest, failed: dict[int, str], watch: _Watch) -> None:
    if one.result is not None:
        manifest.keep(one.number, one.result)
        watch.took(one)
        return
    why = one.fault or "failed without a word"
    if one.opening and not watch.taken:
        raise AlignkitError(f"{one.worker}: {why}" if one.worker else why)
    failed[one.number] = why
    logger.warning("part %d failed on %s: %s", one.number, one.worker or "its worker", why)


class _Watch:
    """Who did how much, and which part takes far longer than the others."""

    def __init__(self, manifest: Manifest, left: list[Part]) -> None:
        self._sizes = {part.number: part.size for part in left}
        self._whole = sum(part.size for part in manifest.parts)
        self._earlier = self._whole - sum(self._sizes.values())
        self._by_worker: dict[str, list[tuple[int, float]]] = {}
        self._seconds: list[float] = []
        self._named: set[int] = set()
        self.taken = 0

    def took(self, one: Finished) -> None:
        """A part is done."""
        self.taken += 1
        self._seconds.append(one.seconds)
        self._by_worker.setdefault(one.worker, []).append((self._sizes[one.number], one.seconds))
        if one.number in self._named:
            logger.info("part %d is done after %.0f s, by %s", one.number, one.seconds, one.worker)

    def progress(self) -> Progress:
        """How far it is."""
        done = self._earlier + sum(size for parts in self._by_worker.values() for size, _ in parts)
        return Progress(done, self._whole, self._earlier, self._rates())

    def name_late(self, engine: Engine) -> None:
        """Say once of each part that it takes far longer than the others."""
        if not self._seconds:
            return
        usual, now = statistics.median(self._seconds), time.monotonic()
        for number, since in list(engine.underway.items()):
            if number not in self._named and now - since > max(LATE_S, LATE * usual):
                self._named.add(number)
                logger.info("part %d takes %.0f s so far, the others %.1f s", number, now - since, usual)

    def name_slow(self) -> None:
        """Say which workers were far slower than the others."""
        rates = self._rates()
        usual = statistics.median(rates.values()) if rates else 0.0
        for worker, rate in rates.items():
            if rate * LATE < usual:
                logger.info("%s was slow: %.0f a second, the others %.0f", worker, rate, usual)

    def _rates(self) -> dict[str, float]:
        return {
            worker: sum(size for size, _ in parts) / max(sum(seconds for _, seconds in parts), 1e-9)
            for worker, parts in self._by_worker.items()
        }
