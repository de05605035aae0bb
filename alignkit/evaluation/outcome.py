"""What an evaluation found, all of it, for whoever reports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alignkit.evaluation.comparison import Comparison
from alignkit.evaluation.learning_curve import LearningCurve
from alignkit.evaluation.query_times import Times
from alignkit.metrics.alignment import Row


@dataclass(frozen=True)
class Evaluation:
    """A comparison and what was measured beside it.

    Attributes:
        comparison: rows, intervals, verdict.
        times: row → milliseconds of a query.
        curve: quality against the number of training pairs, where it was asked for.
        about: plain JSON values: `head` (where it came from), `leaks` (a sentence), `timed` (model → where it ran,
            or why it has no time), `doubts` (what could not be checked), and what else belongs in `meta`.
        other_splits: split → rows, for the CSV and for comparison in the report (the training split's).
    """

    comparison: Comparison
    times: Mapping[str, Times] = field(default_factory=dict)
    curve: LearningCurve | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    other_splits: Mapping[str, Mapping[str, Row]] = field(default_factory=dict)

    @property
    def rows(self) -> dict[str, Row]:
        """The table: figures and times by row."""
        return {name: {**row, **self.times.get(name, {})} for name, row in self.comparison.rows.items()}

    @property
    def meta(self) -> dict[str, Any]:
        """What belongs beside the rows in `metrics.json`."""
        curve = {"learning_curve": self.curve.to_json()} if self.curve else {}
        return {**self.comparison.meta, **self.about, **curve}
