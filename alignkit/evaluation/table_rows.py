"""The rows of the table, and what is known of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from alignkit.evaluation.columns import Column

Figures = Mapping[Column, float | None]


class RowName(StrEnum):
    """The rows in the order in which people read them: the product between its ceiling and its rivals, the floor last.

    `cascade` is shown with its size, as in `cascade@30`.
    """

    TEACHER = "teacher"
    TUNED = "tuned"
    TUNED_PLAIN = "tuned_plain"
    TUNED_BOTH = "tuned_both"
    ALIGNED = "aligned"
    ALIGNED_PLAIN = "aligned_plain"
    ALIGNED_BOTH = "aligned_both"
    STUDENT_TUNED = "student_tuned"
    STUDENT = "student"
    CASCADE = "cascade"
    RIDGE = "ridge"
    RAW = "raw"
    MEAN = "mean"


# heads that know nothing of the pairs
FLOORS = (RowName.RAW, RowName.MEAN)


@dataclass(frozen=True)
class Product:
    """The rows that are made with the student and the head which are judged.

    Attributes:
        row: the product itself, whitened where the head has a whitening.
        plain: the same without its whitening.
        both: queries and corpus through the head.
        own_index: the student's own vectors of queries and corpus.
    """

    row: RowName
    plain: RowName
    both: RowName
    own_index: RowName


HEAD_ALONE = Product(RowName.ALIGNED, RowName.ALIGNED_PLAIN, RowName.ALIGNED_BOTH, RowName.STUDENT)
# the rows of HEAD_ALONE are then of the student before it was trained
TRAINED_STUDENT = Product(RowName.TUNED, RowName.TUNED_PLAIN, RowName.TUNED_BOTH, RowName.STUDENT_TUNED)


@dataclass(frozen=True)
class Times:
    """What one query costs, in milliseconds, step by step.

    Attributes:
        embed_ms: where its models ran; `None` where that was not timed.
        head_ms: on this machine's CPU.
        search_ms: likewise, scanning the whole corpus.
        models_mb: what its models weigh in memory; `None` where that is not known, or was not asked.
    """

    embed_ms: float | None
    head_ms: float
    search_ms: float
    models_mb: float | None = None

    @property
    def total_ms(self) -> float | None:
        """All steps; `None` where one of them is not known."""
        return None if self.embed_ms is None else self.embed_ms + self.head_ms + self.search_ms

    def to_json(self) -> dict[str, float | None]:
        """As `metrics.json` has it; without a size where none is known."""
        known = {name: value for name, value in vars(self).items() if name != "models_mb" or value is not None}
        return {**known, "total_ms": self.total_ms}


@dataclass(frozen=True)
class Row:
    """One row of the table.

    Attributes:
        figures: of the columns that the row has; `None` where a figure is undefined.
        shares: of the teacher's own figure, for the columns that measure relevance.
        times: where they were taken.
    """

    figures: Figures
    shares: Figures = field(default_factory=dict)
    times: Times | None = None

    def __getitem__(self, column: Column) -> float | None:
        return self.figures.get(column)

    def to_json(self) -> dict[str, float | None]:
        """One level of keys, as in `metrics.json`: `ndcg@10`, `ndcg@10_share`, `total_ms`."""
        flat: dict[str, float | None] = {}
        for column in Column:
            if column in self.figures:
                flat[column.value] = self.figures[column]
            if column in self.shares:
                flat[f"{column.value}_share"] = self.shares[column]
        return flat | (self.times.to_json() if self.times else {})
