"""Exact search through any index: what an approximate one is compared with, and what a file without an engine does."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows

_QUERIES_AT_ONCE = 1024


def exact_search(
    index: VectorIndex, vectors: np.ndarray, k: int, rows: Iterable[IndexRows] | None = None
) -> tuple[list[list[Id]], np.ndarray]:
    """The best rows of the whole index, which is read once; rows without a usable vector are never found.

    Args:
        index: N rows.
        vectors: `(Q, D)`.
        k: hits; of equal scores the row that is read first comes first.
        rows: of the index, instead of all.

    Returns:
        As `VectorIndex.search`, by the index's own metric, the cosine where it has none.

    Raises:
        DataError: if the queries have another width than the index.
    """
    described = index.describe()
    metric = described.metric or "cosine"
    queries = query_matrix(vectors, described.dim)
    if metric == "cosine":
        queries = unit_rows(queries)
    best = np.full((len(queries), k), -np.inf, np.float32)
    found = np.full((len(queries), k), -1, np.int64)
    ids: dict[int, Id] = {}
    first = 0
    for part in index.scan() if rows is None else rows:
        stored = unit_rows(part.vectors) if metric == "cosine" else part.vectors
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            block = slice(start, start + _QUERIES_AT_ONCE)
            scores = np.nan_to_num(
                scores_of(queries[block], stored, metric), nan=-np.inf, posinf=np.inf, neginf=-np.inf
            )
            best[block], found[block] = _merged(best[block], found[block], scores, first)
        kept = {row for row in np.unique(found).tolist() if row >= 0}
        ids = {row: ids[row] if row < first else part.ids[row - first] for row in kept}
        first += len(part)
    return [[ids[row] for row in hits if row >= 0] for hits in found.tolist()], best


def query_matrix(vectors: np.ndarray, dim: int) -> np.ndarray:
    """The queries as `(Q, dim)` float32.

    Raises:
        DataError: if they have another width, or hold NaN.
    """
    queries = np.asarray(vectors, dtype=np.float32)
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise DataError(
            f"queries of shape {queries.shape}: expected (queries, {dim}), as the index has {dim}-d vectors"
        )
    if not np.isfinite(queries).all():
        raise DataError("queries: a vector holds NaN or infinity")
    return queries


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """The rows scaled to length 1, float32; zero rows stay zero, NaN rows NaN.

    >>> unit_rows(np.array([[3e30, 4e30], [3e-30, 4e-30]], dtype=np.float32)).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.6000000238418579, 0.800000011920929]]
    """
    # two steps: the squares of very small and very large numbers are 0 and infinity
    least = np.finfo(np.float32).tiny
    scaled = vectors / np.maximum(np.abs(vectors).max(axis=1, keepdims=True, initial=0), least)
    return np.asarray(scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), least), dtype=np.float32)


def scores_of(queries: np.ndarray, stored: np.ndarray, metric: Metric) -> np.ndarray:
    """`(Q, N)`, the higher the better; for the cosine both must have rows of length 1."""
    dots = queries @ stored.T
    if metric != "l2":
        return dots
    squares = (queries**2).sum(axis=1, keepdims=True) + (stored**2).sum(axis=1) - 2 * dots
    return -np.sqrt(np.maximum(squares, 0))


def _merged(best: np.ndarray, rows: np.ndarray, scores: np.ndarray, first: int) -> tuple[np.ndarray, np.ndarray]:
    """The best `k` of what was found so far and of one more block, in order."""
    k = best.shape[1]
    if scores.shape[1] > 2 * k:
        near = np.sort(np.argpartition(-scores, k - 1, axis=1)[:, :k], axis=1)
    else:
        near = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    found = np.take_along_axis(scores, near, axis=1)
    both = np.concatenate([best, found], axis=1)
    places = np.concatenate([rows, np.where(found > -np.inf, near + first, -1)], axis=1)
    order = np.argsort(-both, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(both, order, axis=1), np.take_along_axis(places, order, axis=1)
