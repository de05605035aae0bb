"""Signs that an embedding has degenerated, each as a sentence that says what it would do to a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from alignkit.evaluation.rankings import Ranking
from alignkit.metrics.similarity import collapsed_dimensions, effective_rank, hubness_skew, share_of_constant_rows
from alignkit.vectors import l2_normalize

SAMPLE = 1_000
MOST_COLLAPSED, MOST_CONSTANT, LEAST_RANK_SHARE = 0.05, 0.10, 0.33
# hubs are judged beside the teacher's own: some corpora have texts that fit every query
MOST_HUBNESS, HUBNESS_FACTOR = 3.0, 2.0


def alarms(
    vectors: Mapping[str, Tensor], rankings: Mapping[str, Ranking], corpus_rows: int, seen: int = 0
) -> dict[str, Any]:
    """Measure the aligned vectors beside the teacher's.

    Args:
        vectors: `aligned` and `teacher`, `(Q, teacher_dim)` of any length: a search looks at directions alone.
        rankings: of the same rows.
        corpus_rows: C.
        seen: how many of the queries the head was trained on.

    Returns:
        `figures`: name → row → number, and `raised`: sentences, empty where nothing is wrong.
    """
    aligned, teacher = (l2_normalize(vectors[name][:SAMPLE].float()) for name in ("aligned", "teacher"))
    figures = {
        "effective_rank": {"aligned": effective_rank(aligned), "teacher": effective_rank(teacher)},
        "collapsed_dimensions": {"aligned": collapsed_dimensions(aligned, teacher)},
        "constant_share": {"aligned": share_of_constant_rows(aligned), "teacher": share_of_constant_rows(teacher)},
        "hubness_skew": {
            name: hubness_skew(rankings[name].rows[:, :10], corpus_rows) for name in ("aligned", "teacher")
        },
    }
    asked = len(vectors["aligned"])
    flattered = [f"the head was trained on {seen:,} of the {asked:,} queries: its figures are too good"] if seen else []
    return {"figures": figures, "raised": flattered + _raised(figures)}


def _raised(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    rank, hubs, constant = figures["effective_rank"], figures["hubness_skew"], figures["constant_share"]
    raised = []
    if constant["aligned"] > max(MOST_CONSTANT, 2 * constant["teacher"]):
        raised.append(
            f"{constant['aligned']:.0%} of the aligned vectors are one and the same: the head ignores its input"
        )
    if figures["collapsed_dimensions"]["aligned"] > MOST_COLLAPSED:
        raised.append(
            f"{figures['collapsed_dimensions']['aligned']:.0%} of the dimensions hardly move in the aligned vectors: "
            "part of the teacher's space is never reached"
        )
    if rank["aligned"] < LEAST_RANK_SHARE * rank["teacher"]:
        raised.append(
            f"the aligned vectors spread over {rank['aligned']:.0f} effective dimensions, the teacher's over "
            f"{rank['teacher']:.0f}: fine distinctions are lost"
        )
    if hubs["aligned"] > MOST_HUBNESS and hubs["aligned"] > HUBNESS_FACTOR * max(hubs["teacher"], 0.0):
        raised.append(
            f"a few texts come up for everything (hubness skew {hubs['aligned']:.1f}, the teacher's "
            f"{hubs['teacher']:.1f}): look at what the worst queries found"
        )
    return raised
