"""What was tried and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.metrics.intervals import Interval


@dataclass(frozen=True)
class Try:
    """One head that was tried, or skipped for lack of time.

    Attributes:
        name: of its YAML.
        expected_s: expected seconds of its arithmetic.
        seconds: that it took; `None` if it was not tried.
        parameters: numbers that it stores.
        flops_per_query: of one forward pass.
        alike: mean of the target on texts like those that it was fitted on.
        unlike: the same on held-out clusters; `None` if there are none.
        quality: mean of the target over the choice's queries, with its interval.
        gain: over ridge regression, paired by query.
    """

    name: str
    expected_s: float
    parameters: int
    flops_per_query: int
    seconds: float | None = None
    alike: float | None = None
    unlike: float | None = None
    quality: Interval | None = None
    gain: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        intervals = {
            name: one.to_json() if one else None for name, one in (("quality", self.quality), ("gain", self.gain))
        }
        return {
            "name": self.name,
            "seconds": self.seconds,
            "expected_s": self.expected_s,
            "parameters": self.parameters,
            "flops_per_query": self.flops_per_query,
            "alike": self.alike,
            "unlike": self.unlike,
            **intervals,
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Try:
        """The inverse of `to_json`."""
        intervals = {name: Interval(**given[name]) if given[name] else None for name in ("quality", "gain")}
        return cls(**{**given, **intervals})


@dataclass(frozen=True)
class Selection:
    """What was chosen and why.

    Attributes:
        name: of the chosen head's YAML.
        target: by which it was chosen.
        tries: all candidates, in the order of their cost.
        reason: one or two sentences; they mention the time budget if it affected the choice.
        queries: number of queries behind the choice.
    """

    name: str
    target: str
    tries: tuple[Try, ...]
    reason: str
    queries: int

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, for `metrics.json`, the artifact and the report."""
        return {
            "name": self.name,
            "target": self.target,
            "reason": self.reason,
            "queries": self.queries,
            "tries": [one.to_json() for one in self.tries],
        }

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> Selection:
        """The inverse of `to_json`: a run's settings hold the JSON form."""
        return cls(**{**given, "tries": tuple(map(Try.from_json, given["tries"]))})
