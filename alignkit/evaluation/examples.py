"""Where a head fails: the worst single queries, with what was found instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from alignkit.evaluation.rankings import Ranking
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.pairs.evaluation_set import EvaluationSet

WORST = 10


@dataclass(frozen=True)
class FirstHit:
    """The first text that was found.

    Attributes:
        text: whole.
        cosine: with the query.
        relevant: `None` where nothing is known to be relevant.
    """

    text: str
    cosine: float
    relevant: bool | None


@dataclass(frozen=True)
class Failure:
    """One query that the head serves badly.

    Attributes:
        query: its text.
        cosine: of its aligned vector with the teacher's.
        product: the measure.
        teacher: the measure.
        found: first hit through the head.
        expected: the teacher's own first hit.
    """

    query: str
    cosine: float
    product: float
    teacher: float
    found: FirstHit
    expected: FirstHit


def worst_queries(
    test: EvaluationSet, figures: Mapping[RowName, np.ndarray], rankings: Mapping[RowName, Ranking],
    cosines: np.ndarray, product: Product = HEAD_ALONE, most: int = WORST,
) -> tuple[Failure, ...]:  # fmt: skip
    """Queries that lose most against the teacher; of equals, those whose aligned vector is furthest off.

    Args:
        test: what was measured on; without texts there is nothing to show.
        figures: row → `(Q,)` per-query figures of the deciding measure.
        rankings: of the product and the teacher.
        cosines: `(Q,)` of the aligned vectors with the teacher's.
        product: which row is compared with the teacher's.
        most: how many.
    """
    if test.queries.texts is None or test.corpus.texts is None:
        return ()
    own, teacher = figures[product.row], figures[RowName.TEACHER]
    loss = own - teacher
    order = [row for row in np.lexsort((cosines, loss)) if np.isfinite(loss[row]) and loss[row] < 0]
    found, expected = (_first_hits(test, rankings[name]) for name in (product.row, RowName.TEACHER))
    return tuple(
        Failure(
            query=test.queries.texts[row],
            cosine=float(cosines[row]),
            product=float(own[row]),
            teacher=float(teacher[row]),
            found=found(row),
            expected=expected(row),
        )
        for row in order[:most]
    )


def _first_hits(test: EvaluationSet, ranking: Ranking) -> Callable[[int], FirstHit]:
    judged, texts = test.judge(ranking.rows[:, :1]), test.corpus.texts or []

    def first(query: int) -> FirstHit:
        relevant = None if judged is None else bool(judged.gains[query, 0] > 0)
        return FirstHit(texts[ranking.rows[query, 0]], float(ranking.scores[query, 0]), relevant)

    return first
