"""How long a query has to be: an index that ranks by distance compares lengths too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alignkit.indexes.base import VectorIndex

# the first ones are enough for a length
ROWS = 256
# of the vectors, from the shortest twentieth to the longest; within it the order is that of the cosine
_SAME_WITHIN = 0.02


@dataclass(frozen=True)
class QueryLength:
    """What is done to the length of queries.

    Attributes:
        value: that queries get, > 0.
        note: where the engine still ranks otherwise than by the cosine, a sentence that says so; else `None`.
    """

    value: float = 1.0
    note: str | None = None


def query_length(index: VectorIndex) -> QueryLength:
    """The length of queries that only have a direction, from the first rows of the index.

    By distance, a query that is much shorter than the rows finds the shortest rows, whatever they say. Of the demo
    pack's sentences, with lengths around 10, a query of length 1 finds 8% of the ten rows that are nearest to the
    teacher's own query, one of the rows' median length 89%.
    """
    described = index.describe()
    if described.metric in (None, "cosine"):
        return QueryLength()
    rows = next(index.scan(batch=ROWS), None)
    usable = [] if rows is None else [row for row in range(len(rows)) if row not in rows.faults]
    if rows is None or not usable:
        return QueryLength()
    lengths = np.linalg.norm(rows.vectors[usable].astype(np.float64), axis=1)
    short, middle, long = np.quantile(lengths, [0.05, 0.5, 0.95]).tolist()
    value = middle if described.metric == "l2" else 1.0
    if long - short <= _SAME_WITHIN * middle:
        return QueryLength(value)
    by = "distance" if described.metric == "l2" else "dot product"
    return QueryLength(
        value,
        f"{described.place}: ranks by {by}, and its vectors have lengths from {short:.3g} to {long:.3g}; rows come in "
        "another order than by the cosine, which the head is trained for",
    )
