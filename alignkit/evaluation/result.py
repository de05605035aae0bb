"""What an evaluation found, all of it: the one thing that reports are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from alignkit.evaluation.alarms import Alarm, Health
from alignkit.evaluation.code_table import CodeRow
from alignkit.evaluation.columns import Column
from alignkit.evaluation.confidence_figures import ConfidenceFigures
from alignkit.evaluation.examples import Failure
from alignkit.evaluation.group_figures import GroupFigure
from alignkit.evaluation.learning_curve import LearningCurve
from alignkit.evaluation.recall_curves import RecallCurves
from alignkit.evaluation.student_record import KEY, StudentRecord
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, Row, RowName, Times
from alignkit.evaluation.training_history import TrainingHistory
from alignkit.evaluation.verdict import BROKEN_SHARE, Rule, Verdict
from alignkit.metrics.intervals import Interval
from alignkit.pairs.base import Origin
from alignkit.runs.table_report import TableReport

Intervals = Mapping[RowName, Interval | None]


@dataclass(frozen=True)
class Sampling:
    """What figures and intervals were drawn from.

    Attributes:
        seed: of the random projection, of samples and of the bootstrap.
        resamples: of the bootstrap.
        depth: hits a query that were looked at.
    """

    seed: int
    resamples: int
    depth: int


@dataclass(frozen=True)
class Certainty:
    """95% intervals, all from the same draws.

    Attributes:
        means: measure → row → its mean.
        differences: measure → rival → the mean of the product less that of the rival.
        shares: row → its share of the teacher, in the measure that decides.
    """

    means: Mapping[Column, Intervals]
    differences: Mapping[Column, Intervals]
    shares: Intervals


@dataclass(frozen=True)
class Projection:
    """The first queries, for pictures and TensorBoard's projector.

    Attributes:
        aligned: `(P, teacher_dim)`, rows of length 1.
        teacher: `(P, teacher_dim)`, likewise.
        texts: where they are known.
        groups: likewise.
    """

    aligned: Tensor
    teacher: Tensor
    texts: tuple[str, ...] | None
    groups: tuple[str, ...] | None


@dataclass(frozen=True)
class About:
    """What stands beside a measurement.

    Attributes:
        head: where it came from.
        leaks: what the leak check said, one line.
        doubts: what could not be checked, one sentence each.
        timed: model → where it ran, or why it has no time.
        settings: of the command, without secrets.
        versions: library → version.
        training: how the head was trained, where this evaluation is the end of a training.
        pairs: split → number of pairs, likewise.
        student: how the student was trained, where it was.
        table: how the student was made out of its teacher, where it was.
    """

    head: str | None = None
    leaks: str | None = None
    doubts: tuple[str, ...] | None = None
    timed: Mapping[str, str] | None = None
    settings: Mapping[str, Any] | None = None
    versions: Mapping[str, str] | None = None
    training: TrainingHistory | None = None
    pairs: Mapping[str, int] | None = None
    student: StudentRecord | None = None
    table: TableReport | None = None

    def to_json(self) -> dict[str, Any]:
        """As `meta` in `metrics.json` has it: what is not known is left out."""
        typed = ("training", "student", "table")
        known = {name: value for name, value in vars(self).items() if value is not None and name not in typed}
        if self.doubts is not None:
            known["doubts"] = list(self.doubts)
        if self.student is not None:
            known[KEY] = self.student.to_json()
        if self.table is not None:
            known["student_table"] = self.table.to_json()
        return known | (self.training.to_json() if self.training else {})


@dataclass(frozen=True)
class Result:
    """One evaluation.

    Attributes:
        origin: of the texts.
        rows: the table.
        left_out: rows that need the training pairs, where the head came without them.
        verdict: whether to use the head, with the evidence.
        certainty: the intervals.
        health: of the aligned vectors.
        confidence: what the head's estimate of itself is worth; `None` where it has none.
        sampling: seeds and sizes.
        cosines: row → `(Q,)` cosines with the teacher's vectors.
        recall: at every depth.
        groups: what the head loses by group, most first; all of them.
        failures: the queries that lose most.
        projection: some of the vectors.
        curve: quality against the number of training pairs, where it was asked for.
        codes: what indexes of fewer bytes still find, where that was asked for.
        about: what stands beside.
        other_splits: split → rows, for comparison (the training split's).
        product: the rows of the student and the head that are judged.
        grouped_by: the field that the groups were asked for by.
        test_set: tells the set from any other, see `set_digest`; `None` where that was not asked.
    """

    origin: Origin
    rows: Mapping[RowName, Row]
    left_out: tuple[RowName, ...]
    verdict: Verdict
    certainty: Certainty
    health: Health
    confidence: ConfidenceFigures | None
    sampling: Sampling
    cosines: Mapping[RowName, np.ndarray]
    recall: RecallCurves
    groups: tuple[GroupFigure, ...]
    failures: tuple[Failure, ...]
    projection: Projection
    curve: LearningCurve | None = None
    codes: tuple[CodeRow, ...] = ()
    about: About = About()
    other_splits: Mapping[str, Mapping[RowName, Row]] = field(default_factory=dict)
    product: Product = HEAD_ALONE
    grouped_by: str | None = None
    test_set: str | None = None

    @property
    def measure(self) -> Column:
        """The measure that the verdict is about."""
        return self.verdict.evidence.measure

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """What is wrong beyond the figures, and what the figures do not say."""
        evidence = self.verdict.evidence
        seen = [Alarm.SEEN] if evidence.seen else []
        # a head that is broken for that reason has been told so
        unlike = [Alarm.UNLIKE] if evidence.unlike and self.verdict.rule is not Rule.BROKEN else []
        student = self.about.student
        forgotten = [Alarm.FORGOTTEN] if student and student.forgetting and student.forgetting.lost else []
        return (*seen, *self.health.alarms(), *unlike, *forgotten)

    def label(self, name: RowName) -> str:
        """How a row is called in tables and files: the cascade by its size."""
        return self.verdict.evidence.cascade_name if name == RowName.CASCADE else name.value

    def labelled(self, rows: Mapping[RowName, Any]) -> dict[str, Any]:
        """The same with the names that tables and files have."""
        return {self.label(name): value for name, value in rows.items()}

    def with_times(self, times: Mapping[RowName, Times]) -> Result:
        """The same with what a query costs."""
        return replace(self, rows={name: replace(row, times=times.get(name)) for name, row in self.rows.items()})

    def to_json(self) -> dict[str, Any]:
        """`rows` and `meta` as plain JSON values: all figures of `metrics.json`, and none of its sentences."""
        evidence, thresholds = self.verdict.evidence, self.verdict.thresholds
        meta = {
            **self.origin.to_json(),
            **({"test_set": self.test_set} if self.test_set else {}),
            "verdict": self.verdict.name.value,
            "thresholds": {**vars(thresholds), "broken": BROKEN_SHARE},
            "measure": self.measure.value,
            "judged": evidence.judged.value,
            "cascade": self.label(RowName.CASCADE),
            "queries": evidence.asked,
            "judged_queries": evidence.queries,
            "query_groups": evidence.groups,
            "seen_in_training": evidence.seen,
            "corpus": evidence.corpus,
            **vars(self.sampling),
            "left_out_rows": [name.value for name in self.left_out],
            "intervals": {one.value: self._intervals(means) for one, means in self.certainty.means.items()},
            "differences": {
                one.value: {
                    f"{self.product.row.value} - {name.value}": _json(interval)
                    for name, interval in differences.items()
                }
                for one, differences in self.certainty.differences.items()
            },
            "shares": self._intervals(self.certainty.shares),
            "floor_share": evidence.floor_share,
            "floor_cascade_share": evidence.floor_cascade_share,
            "alarms": {"figures": self.health.to_json(self.product)},
            **({"confidence": self.confidence.to_json()} if self.confidence else {}),
            **self.about.to_json(),
            **({"learning_curve": self.curve.to_json()} if self.curve else {}),
            **({"codes": [row.to_json() for row in self.codes]} if self.codes else {}),
            **({"grouped_by": self.grouped_by} if self.grouped_by else {}),
            **({"groups": [one.to_json() for one in self.groups]} if self.groups else {}),
        }
        return {"rows": self.labelled({name: row.to_json() for name, row in self.rows.items()}), "meta": meta}

    def _intervals(self, intervals: Intervals) -> dict[str, Any]:
        return self.labelled({name: _json(interval) for name, interval in intervals.items()})


def _json(interval: Interval | None) -> dict[str, float] | None:
    return interval.to_json() if interval else None
