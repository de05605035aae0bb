"""How a head stands after a look: as before, worse, or not to be told yet."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.metrics.intervals import Interval, PairedBootstrap, bootstrap_means
from alignkit.watching.e_process import ALPHA, Course, changed_at, course_of
from alignkit.watching.past_looks import Look, PastLooks, Reference
from alignkit.watching.searched import Figures

# with fewer, not even a drop by .1 would have been seen
FEWEST_CALLS, FEWEST_OF_REFERENCE = 100, 30
# looks whose figures are told one by one; all of them decide
TOLD = 60


class Standing(enum.Enum):
    """The verdict on a head that is in use."""

    AS_BEFORE = "as_before"
    WORSE = "worse"
    TOO_LITTLE_DATA = "too_little_data"


@dataclass(frozen=True)
class Means:
    """Of some queries, with 95% intervals.

    Attributes:
        queries: how many.
        overlap: share of the teacher's ten nearest texts that the head finds.
        cosine: of the head's vector with the teacher's.
    """

    queries: int
    overlap: Interval
    cosine: Interval

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"queries": self.queries, "overlap@10": self.overlap.to_json(), "cosine_mean": self.cosine.to_json()}


@dataclass(frozen=True)
class LookPoint:
    """One look of the course.

    Attributes:
        number: from 1.
        at: when it was, ISO 8601.
        first_day: of its queries, where they have times.
        last_day: likewise.
        means: `None` where none of its queries has figures.
        evidence: the e-process after it.
    """

    number: int
    at: str
    first_day: str | None
    last_day: str | None
    means: Means | None
    evidence: float

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**vars(self), "means": self.means and self.means.to_json()}


@dataclass(frozen=True)
class Judged:
    """A verdict, and what it comes from.

    Attributes:
        standing: the verdict.
        of: whose figures live queries are compared with.
        reference: these.
        calls: queries of all looks that have figures.
        evidence: the e-process now; it decides from `needed` on.
        change: mean overlap of the queries that are judged less the reference's: since the change where it is worse,
            else of the last look.
        since: day of the first query of the change, or of the look; only where it is worse.
        from_first_look: whether it began there; only where it is worse.
        course: of the last looks.
    """

    standing: Standing
    of: str
    reference: Means | None
    calls: int
    evidence: float
    change: Interval | None
    since: str | None
    from_first_look: bool
    course: tuple[LookPoint, ...]

    @property
    def needed(self) -> float:
        """The evidence that makes a head worse."""
        return 1 / ALPHA

    @property
    def last(self) -> Means | None:
        """Of the last look."""
        return self.course[-1].means if self.course else None

    def to_json(self) -> dict[str, Any]:
        """As `meta.watch` has it."""
        return {
            "verdict": self.standing.value,
            "since": self.since,
            "from_first_look": self.from_first_look,
            "change": self.change and self.change.to_json(),
            "evidence": self.evidence,
            "evidence_needed": self.needed,
            "calls": self.calls,
            "compared_with": self.of,
            "reference": self.reference and self.reference.to_json(),
            "looks": [one.to_json() for one in self.course],
        }


def judge(past: PastLooks, seed: int = 0) -> Judged | None:
    """Judge a head by all looks at it; `None` where there was none.

    Args:
        past: the looks.
        seed: of the intervals. The verdict does not depend on it: see `e_process`.
    """
    if past.reference is None or not past.looks:
        return None
    course = course_of([np.array(look.normal_scores) for look in past.looks])
    evidence = np.exp(np.minimum(course.log_e, 700))
    told = list(zip(past.looks, evidence.tolist(), strict=True))[-TOLD:]
    points = tuple(_point(look, value, seed + look.number) for look, value in told)
    calls = sum(len(look.overlap) for look in past.looks)
    reference = past.reference
    first, since, change = _changed(past.looks, reference, course, seed)
    return Judged(
        standing=_standing(course, calls, len(reference.figures), change),
        of=reference.of,
        reference=_means(reference.figures, seed),
        calls=calls,
        evidence=float(evidence[-1]),
        change=change,
        since=since,
        from_first_look=first == 0,
        course=points,
    )


def _standing(course: Course, calls: int, reference: int, change: Interval | None) -> Standing:
    if course.worse:
        return Standing.WORSE
    # the last look alone may be worse, for which there is no evidence enough
    unsure = change is None or change.high < 0
    few = calls < FEWEST_CALLS or reference < FEWEST_OF_REFERENCE
    return Standing.TOO_LITTLE_DATA if few or unsure else Standing.AS_BEFORE


def _changed(
    looks: list[Look], reference: Reference, course: Course, seed: int
) -> tuple[int | None, str | None, Interval | None]:
    """With which query it began, since when that is, and by how much."""
    if not course.worse:
        last = looks[-1].figures.overlap
        return None, None, difference(last, reference.figures.overlap, seed) if len(last) else None
    overlap = np.concatenate([look.figures.overlap for look in looks])
    scores = np.concatenate([np.array(look.normal_scores) for look in looks])
    # with a day or with a look: several looks of one day may see the queries before and after
    days = [(look.number, day or look.at[:10]) for look in looks for day in look.days]
    starts = [row for row, day in enumerate(days) if row == 0 or day != days[row - 1]]
    first = changed_at(scores, np.array(starts))
    return first, days[first][1], difference(overlap[first:], reference.figures.overlap, seed)


def difference(first: np.ndarray, second: np.ndarray, seed: int = 0) -> Interval:
    """Mean of `(N,)` less mean of other queries' `(M,)`, with its 95% interval by the bootstrap of both."""
    # of different seeds: the two are not paired
    means = [bootstrap_means(one[:, None], seed=seed + place)[:, 0] for place, one in enumerate((first, second))]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return Interval(float(first.mean() - second.mean()), float(low), float(high))


def _point(look: Look, evidence: float, seed: int) -> LookPoint:
    days = sorted(day for day in look.days if day)
    first, last = (days[0], days[-1]) if days else (None, None)
    return LookPoint(look.number, look.at, first, last, _means(look.figures, seed), evidence)


def _means(figures: Figures, seed: int) -> Means | None:
    drawn = PairedBootstrap({"overlap": figures.overlap, "cosine": figures.cosine}, seed=seed)
    overlap, cosine = drawn.mean("overlap"), drawn.mean("cosine")
    return None if overlap is None or cosine is None else Means(len(figures), overlap, cosine)
