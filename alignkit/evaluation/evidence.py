"""What a verdict is made from: the measure that decides, its intervals, and what a head without knowledge reaches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.pairs.evaluation_set import EvaluationSet

OVERLAP, RELEVANCE = "overlap@10", "ndcg@10"
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
        share: of `aligned`; `None` where the teacher itself finds nothing.
        student_share: of the student's own index.
        gain: aligned less student, in the measure itself.
        lead: student less teacher, in the measure itself; `None` where the measure is agreement with the teacher,
            which the teacher leads by construction.
        teacher_mean, student_mean: the measure itself.
        cascade_share: of `cascade@N`; `None` where it is that of `aligned` by construction.
        cascade: its name.
        floor_share: the best that a head without knowledge reaches here (random projection, mean predictor).
        floor_cascade_share: the same with reranking.
        asked: all queries, judged or not.
        seen: how many of those the head was trained on, as far as that is known.
        unlike: in words, how far the queries are from the training sentences; `None` where they are not, or where
            that is not known.
    """

    measure: str
    queries: int
    groups: int
    corpus: int
    share: Interval | None
    student_share: Interval | None
    gain: Interval | None
    lead: Interval | None
    teacher_mean: float
    student_mean: float
    cascade_share: Interval | None
    cascade: str
    floor_share: float
    floor_cascade_share: float
    asked: int
    seen: int = 0
    unlike: str | None = None


def query_groups(test: EvaluationSet) -> np.ndarray | None:
    """`(Q,)`, equal for queries that are no independent findings; `None` where each stands for itself."""
    return None if test.labels is None else np.unique(test.labels, return_inverse=True)[1]


def deciding_measure(bootstraps: Mapping[str, PairedBootstrap]) -> str:
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
    test: EvaluationSet, measure: str, figures: Mapping[str, np.ndarray], reranked_floors: Mapping[str, np.ndarray],
    bootstrap: PairedBootstrap, cascade: str, *, seen: int, unlike: str | None,
) -> Evidence:  # fmt: skip
    """Put together what `decide` looks at.

    Args:
        test: queries and corpus.
        measure: that decides.
        figures: row name → `(Q,)` per-query figures of that measure.
        reranked_floors: the same of the rows that know nothing, after the teacher reranked what they found.
        bootstrap: of `figures`.
        cascade: row name, `cascade@N`.
        seen: queries that the head was trained on.
        unlike: in words, how far the queries are from the training sentences, if they are.
    """
    ceiling = _mean(figures["teacher"])
    return Evidence(
        measure=measure,
        queries=bootstrap.count,
        groups=bootstrap.groups,
        corpus=len(test.corpus),
        share=bootstrap.ratio("aligned", "teacher"),
        student_share=bootstrap.ratio("student", "teacher"),
        gain=bootstrap.difference("aligned", "student"),
        lead=bootstrap.difference("student", "teacher") if measure == RELEVANCE else None,
        teacher_mean=ceiling,
        student_mean=_mean(figures["student"]),
        cascade_share=None if _only_reordered(measure, cascade) else bootstrap.ratio(cascade, "teacher"),
        cascade=cascade,
        floor_share=max(_mean(figures[name]) for name in reranked_floors) / ceiling if ceiling else 1.0,
        floor_cascade_share=max(map(_mean, reranked_floors.values())) / ceiling if ceiling else 1.0,
        asked=len(test.queries),
        seen=seen,
        unlike=unlike,
    )


def notes_on(evidence: Evidence, bootstraps: Mapping[str, PairedBootstrap]) -> list[str]:
    """What a reader has to know about these figures, in words."""
    notes = []
    judged = bootstraps.get(RELEVANCE)
    if judged is not None and evidence.measure == OVERLAP:
        notes.append(
            f"only {judged.count:,} of {evidence.asked:,} queries, in {judged.groups:,} groups, have something that is "
            f"relevant to them; the verdict goes by {OVERLAP}, which needs no judgements"
        )
    if evidence.groups < evidence.queries:
        notes.append(
            f"{evidence.queries:,} queries in {evidence.groups:,} groups of one label: the intervals draw whole "
            "groups, because queries of one group fare alike"
        )
    if _only_reordered(evidence.measure, evidence.cascade):
        notes.append(
            f"{evidence.cascade} puts the first ten hits of aligned in another order, so that its {OVERLAP} is the "
            "same by construction; on so small a corpus it says nothing about a cascade"
        )
    return notes


def _only_reordered(measure: str, cascade: str) -> bool:
    return measure == OVERLAP and int(cascade.partition("@")[2]) <= 10


def _mean(figures: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a mean of nothing
        return float(np.nan_to_num(np.nanmean(figures)))
