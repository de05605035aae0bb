"""What a verdict is made from: the measure that decides, its intervals, and what a head without knowledge reaches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alignkit.evaluation.columns import Column
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.runs.training_sample import Unlike

OVERLAP, RELEVANCE = Column.OVERLAP_10, Column.NDCG_10
# with fewer groups than this, an interval that draws whole groups is too narrow itself
MIN_QUERIES, MIN_GROUPS = 30, 10


@dataclass(frozen=True)
class Evidence:
    """What the verdict looks at. Every share is of the teacher's mean figure, every interval over groups of queries.

    Attributes:
        measure: `ndcg@10` or `overlap@10`.
        queries: how many have a figure.
        groups: in how many groups these are that can differ by chance; as many where each stands for itself.
        corpus: rows that can be found.
        share: of the product; `None` where the teacher itself finds nothing.
        gain: the product less its rival, in the measure itself.
        lead: the rival less the teacher, in the measure itself; `None` where the measure is agreement with the teacher,
            which the teacher leads by construction.
        teacher_mean: the measure itself.
        student_mean: of the rival, the measure itself.
        cascade_size: N of `cascade@N`.
        cascade_share: of `cascade@N`; `None` where it is that of the product by construction.
        floor_share: the best that a head without knowledge reaches here (random projection, mean predictor).
        floor_cascade_share: the same with reranking.
        asked: all queries, judged or not.
        seen: how many of those the head was trained on; `None` where that is not known.
        unlike: how far the queries are from the training sentences; `None` where they are not, or where that is not
            known.
        relevant: queries, and groups of them, that have something relevant to them; `None` without judgements.
        product: the row of what would be used.
        judged: the row whose figures stand for it: where agreement with the teacher decides, that of its plain queries
            if they agree more. Whitened ones look for the right text and not for the teacher's neighbours.
        rival: the student's own index; of a trained and an untouched student's, the one that the product trails most
            surely.
        over_head: the product less the head alone, in the measure itself; `None` where no student was trained, or what
            it was before is not known.
    """

    measure: Column
    queries: int
    groups: int
    corpus: int
    share: Interval | None
    gain: Interval | None
    lead: Interval | None
    teacher_mean: float
    student_mean: float
    cascade_size: int
    cascade_share: Interval | None
    floor_share: float
    floor_cascade_share: float
    asked: int
    seen: int | None = None
    unlike: Unlike | None = None
    relevant: tuple[int, int] | None = None
    product: RowName = RowName.ALIGNED
    judged: RowName = RowName.ALIGNED
    rival: RowName = RowName.STUDENT
    over_head: Interval | None = None

    @property
    def cascade_only_reorders(self) -> bool:
        """Whether the cascade hands over ten hits and is judged by the first ten: its figure is the product's."""
        return _only_reorders(self.measure, self.cascade_size)

    @property
    def cascade_name(self) -> str:
        """How the row `cascade` is called wherever it is shown: by its size."""
        return f"{RowName.CASCADE}@{self.cascade_size}"


def query_groups(test: EvaluationSet) -> np.ndarray | None:
    """`(Q,)`, equal for queries that are no independent findings; `None` where each stands for itself."""
    return None if test.labels is None else np.unique(test.labels, return_inverse=True)[1]


def deciding_measure(bootstraps: Mapping[Column, PairedBootstrap[RowName]]) -> Column:
    """Relevance where it is known of enough queries, else agreement with the teacher, which needs no judgements."""
    judged, asked = bootstraps.get(RELEVANCE), bootstraps[OVERLAP]
    if judged is None:
        return OVERLAP
    too_few = judged.count < MIN_QUERIES or judged.groups < MIN_GROUPS
    enough = asked.count >= MIN_QUERIES and asked.groups >= MIN_GROUPS
    if too_few and enough:
        return OVERLAP
    return RELEVANCE


def gather(
    test: EvaluationSet, bootstraps: Mapping[Column, PairedBootstrap[RowName]], figures: Mapping[RowName, np.ndarray],
    reranked_floors: Mapping[RowName, np.ndarray], *, measure: Column, cascade_size: int, seen: int | None,
    unlike: Unlike | None, product: Product = HEAD_ALONE,
) -> Evidence:  # fmt: skip
    """Put together what `decide` looks at.

    Args:
        test: queries and corpus.
        bootstraps: of every measure.
        figures: row → `(Q,)` per-query figures of the deciding measure.
        reranked_floors: the same of the rows that know nothing, after the teacher reranked what they found.
        measure: that decides.
        cascade_size: N of `cascade@N`.
        seen: queries that the head was trained on.
        unlike: how far the queries are from the training sentences, if they are.
        product: the rows of the student and the head.
    """
    bootstrap, judged = bootstraps[measure], bootstraps.get(RELEVANCE)
    ceiling = _mean(figures[RowName.TEACHER])
    judged_row = _judged(measure, figures, product)
    rival = _rival(bootstrap, judged_row, product)
    trained = product != HEAD_ALONE and RowName.ALIGNED in bootstrap.names
    return Evidence(
        measure=measure,
        queries=bootstrap.count,
        groups=bootstrap.groups,
        corpus=len(test.corpus),
        share=bootstrap.ratio(judged_row, RowName.TEACHER),
        gain=bootstrap.difference(judged_row, rival),
        lead=bootstrap.difference(rival, RowName.TEACHER) if measure == RELEVANCE else None,
        teacher_mean=ceiling,
        student_mean=_mean(figures[rival]),
        cascade_size=cascade_size,
        cascade_share=(
            None if _only_reorders(measure, cascade_size) else bootstrap.ratio(RowName.CASCADE, RowName.TEACHER)
        ),
        floor_share=max(_mean(figures[name]) for name in reranked_floors) / ceiling if ceiling else 1.0,
        floor_cascade_share=max(map(_mean, reranked_floors.values())) / ceiling if ceiling else 1.0,
        asked=len(test.queries),
        seen=seen,
        unlike=unlike,
        relevant=None if judged is None else (judged.count, judged.groups),
        product=product.row,
        judged=judged_row,
        rival=rival,
        over_head=bootstrap.difference(judged_row, _judged(measure, figures, HEAD_ALONE)) if trained else None,
    )


def _judged(measure: Column, figures: Mapping[RowName, np.ndarray], product: Product) -> RowName:
    """The product's row, or its plain queries' where agreement decides and they agree more."""
    if measure != OVERLAP or product.plain not in figures:
        return product.row
    return max(product.row, product.plain, key=lambda name: _mean(figures[name]))


def _rival(bootstrap: PairedBootstrap[RowName], judged: RowName, product: Product) -> RowName:
    """The index of its own with which a student does best against the product."""
    indexes = [name for name in (product.own_index, RowName.STUDENT) if name in bootstrap.names]
    gains = {name: bootstrap.difference(judged, name) for name in dict.fromkeys(indexes)}
    return min(gains, key=lambda name: gain.high if (gain := gains[name]) else 0.0)


def _only_reorders(measure: Column, cascade_size: int) -> bool:
    return measure == OVERLAP and cascade_size <= 10


def _mean(figures: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing
        return float(np.nan_to_num(np.nanmean(figures)))
