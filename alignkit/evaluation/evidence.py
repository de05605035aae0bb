"""What a verdict is made from: the measure that decides, its intervals, and what a head without knowledge reaches."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np

from alignkit.evaluation.sets import EvaluationSet
from alignkit.evaluation.verdict import MIN_GROUPS, MIN_QUERIES, Evidence
from alignkit.metrics.intervals import PairedBootstrap

OVERLAP, RELEVANCE = "overlap@10", "ndcg@10"


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
    bootstrap: PairedBootstrap, cascade: str, *, seen: int,
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
        cascade_share=None if _only_reordered(measure, cascade) else bootstrap.ratio(cascade, "teacher"),
        cascade=cascade,
        floor_share=max(_mean(figures[name]) for name in reranked_floors) / ceiling if ceiling else 1.0,
        floor_cascade_share=max(map(_mean, reranked_floors.values())) / ceiling if ceiling else 1.0,
        asked=len(test.queries),
        seen=seen,
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
