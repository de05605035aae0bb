"""Signs that an embedding has degenerated, measured beside the teacher's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alignkit.evaluation.rankings import Ranking
from alignkit.evaluation.row_vectors import RowVectors
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.metrics.similarity import (
    collapsed_dimensions,
    effective_rank,
    hubness_skew,
    random_cosine,
    share_of_constant_rows,
)

SAMPLE = 1_000
MOST_COLLAPSED, MOST_CONSTANT, LEAST_RANK_SHARE = 0.05, 0.10, 0.33
# hubs are judged beside the teacher's own: some corpora have texts that fit every query
MOST_HUBNESS, HUBNESS_FACTOR = 3.0, 2.0
# of two different texts: models made for search stay below it, chat models do not
LARGE_RANDOM_COSINE = 0.3


class Alarm(StrEnum):
    """What can be wrong with a head whose figures look good."""

    SEEN = "seen"
    CONSTANT = "constant"
    COLLAPSED = "collapsed"
    NARROW = "narrow"
    HUBS = "hubs"
    UNLIKE = "unlike"
    FORGOTTEN = "forgotten"


@dataclass(frozen=True)
class Beside:
    """A figure of the aligned vectors, and the teacher's own."""

    aligned: float
    teacher: float


@dataclass(frozen=True)
class Health:
    """The state of the aligned vectors.

    Attributes:
        effective_rank: over how many dimensions the vectors spread.
        collapsed_dimensions: share of the dimensions that hardly move in the aligned vectors, in [0, 1].
        constant_share: share of the vectors that are one and the same, in [0, 1].
        hubness_skew: skew of how often each text of the corpus is found; large where a few come up for everything.
        random_cosine: mean cosine of two different queries.
    """

    effective_rank: Beside
    collapsed_dimensions: float
    constant_share: Beside
    hubness_skew: Beside
    random_cosine: Beside

    @property
    def teacher_shares_mean(self) -> bool:
        """Whether every cosine in the teacher's space is high, so that a high one says little."""
        return self.random_cosine.teacher > LARGE_RANDOM_COSINE

    def to_json(self, product: Product = HEAD_ALONE) -> dict[str, Any]:
        """As `alarms.figures` in `metrics.json` has it, by row."""

        def by_row(one: Beside) -> dict[str, float]:
            return {product.row.value: one.aligned, RowName.TEACHER.value: one.teacher}

        return {
            "effective_rank": by_row(self.effective_rank),
            "collapsed_dimensions": {product.row.value: self.collapsed_dimensions},
            "constant_share": by_row(self.constant_share),
            "hubness_skew": by_row(self.hubness_skew),
            "random_cosine": by_row(self.random_cosine),
        }

    def alarms(self) -> list[Alarm]:
        """What is wrong; empty where nothing is."""
        rank, hubs, constant = self.effective_rank, self.hubness_skew, self.constant_share
        rung = {
            Alarm.CONSTANT: constant.aligned > max(MOST_CONSTANT, 2 * constant.teacher),
            Alarm.COLLAPSED: self.collapsed_dimensions > MOST_COLLAPSED,
            Alarm.NARROW: rank.aligned < LEAST_RANK_SHARE * rank.teacher,
            Alarm.HUBS: hubs.aligned > MOST_HUBNESS and hubs.aligned > HUBNESS_FACTOR * max(hubs.teacher, 0.0),
        }
        return [alarm for alarm, rings in rung.items() if rings]


def measure_health(
    vectors: Mapping[RowName, RowVectors], rankings: Mapping[RowName, Ranking], corpus_rows: int,
    product: Product = HEAD_ALONE,
) -> Health:  # fmt: skip
    """Measure the aligned vectors beside the teacher's.

    Args:
        vectors: the product's and the teacher's are among them.
        rankings: of the same rows.
        corpus_rows: C.
        product: which row is measured.
    """
    aligned, teacher = (vectors[name].unit[:SAMPLE] for name in (product.row, RowName.TEACHER))
    hubs = (hubness_skew(rankings[name].rows[:, :10], corpus_rows) for name in (product.row, RowName.TEACHER))
    return Health(
        effective_rank=Beside(effective_rank(aligned), effective_rank(teacher)),
        collapsed_dimensions=collapsed_dimensions(aligned, teacher),
        constant_share=Beside(share_of_constant_rows(aligned), share_of_constant_rows(teacher)),
        hubness_skew=Beside(*hubs),
        random_cosine=Beside(random_cosine(aligned), random_cosine(teacher)),
    )
