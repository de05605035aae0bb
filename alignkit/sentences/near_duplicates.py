"""Texts that are nearly the same, found exactly and without comparing every text with every other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from alignkit.errors import ConfigError
from alignkit.sentences.normalise import is_cjk, normalise_text

# Jaccard similarity of the sets of character trigrams (Chinese and Japanese: bigrams) of the normalised texts.
THRESHOLD = 0.8
_BLOCK_ROWS = 512
_BLOCK_PAIRS = 50_000
_CODE_BITS = 21  # of a Unicode code point

NearPairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def find_near_duplicates(left: Sequence[str], right: Sequence[str], threshold: float = THRESHOLD) -> NearPairs:
    """Pairs of a left and a right text whose character n-grams overlap by at least `threshold` (Jaccard).

    Two sets of that similarity must share one of their rarest n-grams, so only pairs that do are compared (prefix
    filtering; Chaudhuri, Ganti and Kaushik, "A primitive operator for similarity joins in data cleaning", ICDE 2006):
    nothing is missed.

    Args:
        left: L texts.
        right: R texts.
        threshold: in (0, 1]; 1 finds texts with the same n-grams.

    Returns:
        Rows in left `(P,)`, rows in right `(P,)`, similarities `(P,)` float64, ordered by left, then right.

    >>> rows, columns, similarity = find_near_duplicates(
    ...     ["please cancel my flight to Oslo"], ["Please cancel the flight to Oslo", "please cancel my flights to Oslo"]
    ... )
    >>> columns.tolist(), similarity.round(2).tolist()
    ([1], [0.91])
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"threshold={threshold} must be in (0, 1]")
    grams = _gram_sets([*left, *right])
    sizes = np.diff(grams.indptr)
    prefix = _rarest(grams, threshold)
    left_grams, right_grams = grams[: len(left)], grams[len(left) :]
    left_prefix, right_prefix = prefix[: len(left)], prefix[len(left) :].T.tocsr()
    left_sizes, right_sizes = sizes[: len(left)], sizes[len(left) :]
    found: list[NearPairs] = []
    for start in range(0, len(left), _BLOCK_ROWS):
        shared = (left_prefix[start : start + _BLOCK_ROWS] @ right_prefix).tocoo()
        rows, columns = shared.row.astype(np.int64) + start, shared.col.astype(np.int64)
        smaller = np.minimum(left_sizes[rows], right_sizes[columns])
        near = smaller >= threshold * np.maximum(left_sizes[rows], right_sizes[columns])
        found.append(_verified(left_grams, right_grams, rows[near], columns[near], threshold))
    rows, columns, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True)) if found else _none()
    order = np.lexsort((columns, rows))
    return rows[order], columns[order], similarity[order]


def _none() -> NearPairs:
    return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)


def _verified(
    left: sparse.csr_matrix, right: sparse.csr_matrix, rows: np.ndarray, columns: np.ndarray, threshold: float
) -> NearPairs:
    found = [_none()]
    left_sizes, right_sizes = np.diff(left.indptr), np.diff(right.indptr)
    for start in range(0, len(rows), _BLOCK_PAIRS):
        row, column = rows[start : start + _BLOCK_PAIRS], columns[start : start + _BLOCK_PAIRS]
        common = np.asarray(left[row].multiply(right[column]).sum(axis=1)).ravel().astype(np.float64)
        similarity = common / (left_sizes[row] + right_sizes[column] - common)
        near = similarity >= threshold
        found.append((row[near], column[near], similarity[near]))
    rows, columns, similarity = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return rows, columns, similarity


def _gram_sets(texts: Sequence[str]) -> sparse.csr_matrix:
    """`(N, grams)`, 1 where a text holds an n-gram; columns run from the rarest n-gram to the most frequent."""
    # A space on each side makes the first and last letter count, and gives the shortest text one trigram.
    padded = [f" {text} " for text in map(normalise_text, texts)]
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    width = np.array([2 if is_cjk(text) else 3 for text in padded], dtype=np.int64)
    points = np.frombuffer("".join(padded).encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    points = np.concatenate([points, np.zeros(2, np.int64)])
    text_of = np.repeat(np.arange(len(padded)), lengths)
    place = np.arange(len(text_of)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = np.flatnonzero(place + width[text_of] <= lengths[text_of])
    codes = (points[kept] << _CODE_BITS) | points[kept + 1]
    codes = np.where(width[text_of[kept]] == 3, (codes << _CODE_BITS) | points[kept + 2], codes)
    known, columns = np.unique(codes, return_inverse=True)
    shape = (len(padded), len(known))
    grams = sparse.csr_matrix((np.ones(len(kept), dtype=np.int32), (text_of[kept], columns)), shape=shape)
    grams.sum_duplicates()
    grams.data[:] = 1
    frequency = np.bincount(grams.indices, minlength=len(known))
    rank = np.empty(len(known), dtype=np.int64)
    rank[np.argsort(frequency, kind="stable")] = np.arange(len(known))
    grams.indices = rank[grams.indices].astype(grams.indices.dtype)
    grams.has_sorted_indices = False
    grams.sort_indices()
    return grams


def _rarest(grams: sparse.csr_matrix, threshold: float) -> sparse.csr_matrix:
    """Of each row of size s the s - ceil(threshold * s) + 1 rarest n-grams; columns are sorted by rarity."""
    sizes = np.diff(grams.indptr)
    # A hair below the product: 0.8 * 5 must not become 4.0000000001 and so lose a true pair.
    kept = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    place = np.arange(len(grams.indices)) - np.repeat(grams.indptr[:-1], sizes)
    mask = place < np.repeat(kept, sizes)
    indptr = np.concatenate([[0], np.cumsum(np.minimum(kept, sizes))])
    return sparse.csr_matrix((grams.data[mask], grams.indices[mask], indptr), shape=grams.shape)
