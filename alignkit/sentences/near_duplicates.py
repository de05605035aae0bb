"""Texts that are nearly the same, found without comparing every text with every other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import sparse

from alignkit.sentences.normalise import is_cjk, normalise_text
from alignkit.setting_rules import check, number_from

# Jaccard similarity of the sets of character trigrams (bigrams for Chinese and Japanese) of the normalised texts.
THRESHOLD = 0.8
# A pair of similarity s becomes a candidate with probability 1 - (1 - s^ROWS)^BANDS: 0.9996 at 0.8, 0.02 at 0.25.
_BANDS, _ROWS = 20, 5
_BLOCK_PAIRS = 50_000
_CODE_BITS = 21  # of a Unicode code point

NearPairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def find_near_duplicates(
    left: Sequence[str],
    right: Sequence[str],
    threshold: float = THRESHOLD,
    groups: tuple[np.ndarray, np.ndarray] | None = None,
) -> NearPairs:
    """Pairs of a left and a right text whose character n-grams overlap by at least `threshold` (Jaccard).

    Candidates come from MinHash signatures in bands (Broder, "On the resemblance and containment of documents", 1997;
    Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", 3.4) and are then compared exactly: every
    returned pair is correct, and four in ten thousand of the pairs at a similarity of 0.8 are missed.

    Args:
        left: L texts.
        right: R texts.
        threshold: in [0.5, 1]; below 0.5 too many would be missed.
        groups: `(L,)` and `(R,)` group numbers; pairs within one group are skipped.

    Returns:
        Rows in left `(P,)`, rows in right `(P,)`, similarities `(P,)` float64, ordered by left, then right.

    >>> rows, columns, similarity = find_near_duplicates(
    ...     ["cancel my flight to Oslo"], ["My flight", "cancel my flights to Oslo"]
    ... )
    >>> columns.tolist(), similarity.round(2).tolist()
    ([1], [0.81])
    """
    check({"threshold": threshold}, {"threshold": number_from(0.5, most=1)})
    if not len(left) or not len(right):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    grams = _gram_sets([*left, *right])
    bands = _bands(grams)
    found = [np.empty(0, np.int64)]
    for band in bands.T:
        rows, columns = _equal_keys(band[: len(left)], band[len(left) :])
        if groups is not None:
            apart = groups[0][rows] != groups[1][columns]
            rows, columns = rows[apart], columns[apart]
        found.append(rows * len(right) + columns)
    rows, columns = np.divmod(np.unique(np.concatenate(found)), len(right))
    similarity = _similarity(grams[: len(left)], grams[len(left) :], rows, columns)
    near = similarity >= threshold
    return rows[near], columns[near], similarity[near]


def _gram_sets(texts: Sequence[str]) -> sparse.csr_matrix:
    """`(N, grams)`, 1 where a text contains an n-gram."""
    # A space on each side makes the first and last letters count, and gives the shortest text one trigram.
    padded = [f" {text} " if text else "   " for text in map(normalise_text, texts)]
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    width = np.array([2 if is_cjk(text) else 3 for text in padded], dtype=np.int64)
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.int64)
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
    return grams


def _bands(grams: sparse.csr_matrix) -> np.ndarray:
    """`(N, BANDS)` uint64: equal where a band of minimum hashes is equal."""
    rng = np.random.default_rng(0)
    values = np.arange(grams.shape[1], dtype=np.uint64)
    keys = np.zeros((grams.shape[0], _BANDS), dtype=np.uint64)
    for band in range(_BANDS):
        for _ in range(_ROWS):
            order = rng.permutation(values.size).astype(np.uint32)
            lowest = np.minimum.reduceat(order[grams.indices], grams.indptr[:-1]).astype(np.uint64)
            keys[:, band] = (keys[:, band] ^ lowest) * np.uint64(0x9E3779B97F4A7C15)
            keys[:, band] ^= keys[:, band] >> np.uint64(29)
    return keys


def _equal_keys(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of positions with `left[i] == right[j]`."""
    order = np.argsort(right, kind="stable")
    first = np.searchsorted(right[order], left, side="left")
    count = np.searchsorted(right[order], left, side="right") - first
    rows = np.repeat(np.arange(len(left)), count)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
    return rows, order[np.repeat(first, count) + within]


def _similarity(left: sparse.csr_matrix, right: sparse.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Jaccard similarity of each pair `(P,)`."""
    sizes = np.diff(left.indptr)[rows] + np.diff(right.indptr)[columns]
    common = np.empty(len(rows), dtype=np.float64)
    for start in range(0, len(rows), _BLOCK_PAIRS):
        part = slice(start, start + _BLOCK_PAIRS)
        common[part] = np.asarray(left[rows[part]].multiply(right[columns[part]]).sum(axis=1)).ravel()
    return common / (sizes - common)
