"""The rows that a query finds, with what they hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.exact import scores_of, unit_rows
from alignkit.indexes.filters import Filter
from alignkit.indexes.index_rows import Id, IndexRows


@dataclass(frozen=True)
class Hit:
    """One row.

    Attributes:
        id: as the engine has it.
        score: the higher the better: the cosine, the dot product or minus the distance.
        text: `None` if the index was opened without a field of texts.
        payload: of the fields that the index was opened with.
    """

    id: Id
    score: float
    text: str | None
    payload: dict[str, Any]


def nearest(index: VectorIndex, vector: np.ndarray, k: int, where: Filter | None = None) -> list[Hit]:
    """The `k` best rows by the engine's own search for a vector `(D,)`; those deleted meanwhile are left out."""
    ids, scores = index.search(vector[None], k, where)
    return hits_of(index.fetch(ids[0]), dict(zip(ids[0], scores[0].tolist(), strict=False)))


def reordered(
    index: VectorIndex, metric: Metric | None, candidates: Sequence[Id], vector: np.ndarray, k: int
) -> list[Hit]:
    """Some rows in the order of another vector `(D,)` of the same space: the `k` best of them, by what is stored."""
    rows, query = index.fetch(candidates), vector[None]
    if not len(rows):
        return []
    stored = rows.vectors
    if metric in (None, "cosine"):
        query, stored, metric = unit_rows(query), unit_rows(stored), "cosine"
    scores = np.nan_to_num(scores_of(query, stored, metric or "cosine")[0], nan=-np.inf)
    best = [row for row in np.argsort(-scores, kind="stable")[:k].tolist() if np.isfinite(scores[row])]
    return [_hit(rows, row, float(scores[row])) for row in best]


def hits_of(rows: IndexRows, scores: dict[Id, float]) -> list[Hit]:
    """Rows with their scores."""
    return [_hit(rows, row, scores[one]) for row, one in enumerate(rows.ids)]


def _hit(rows: IndexRows, row: int, score: float) -> Hit:
    return Hit(rows.ids[row], score, None if rows.texts is None else rows.texts[row], rows.payload[row])
