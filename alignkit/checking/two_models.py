"""Tells vectors of two models in one index apart, without either model.

Where texts are known: texts that share rare words have alike vectors in every model's space, and unlike ones if two
models made them. The rows are parted, by their order and by their vectors, and the pairs across a parting are compared
with those on each side. The limits stand where 24 real indexes of one model raise no alarm: five sets of texts as they
grew, two of them sorted, and five pairs of unlike sets one behind the other, each by two models. A short stretch of a
related model's rows may be missed; the same model with another prompt or pooling is left to a sample embedded again.

Where no text is known: a change of the subspace in which the vectors lie, which other texts bring too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.checking.shared_words import pairs_that_share_words
from alignkit.checking.stretches import best_stretch, narrow, stretches, subspace, two_heaps, with_exact_edges
from alignkit.indexes.exact import unit_rows

# of fewer rows sorted by topic, one in eight looked like those of two models
MIN_ROWS = 1000
_PARTS = 24
_BLOCKS, _MIN_BLOCK = 16, 64
_TOP_PAIRS, _MIN_PAIRS, _MIN_WITHIN = 100, 30, 20
# of the likeness: where pairs share few words, which say less, and where they share most
_LIMITS, _LIMITS_AT = (0.28, 0.48), (0.4, 0.6)
_CHANGED = 0.4
_TRIED = 8
_ONE_STRETCH = 0.95


@dataclass(frozen=True)
class Parting:
    """Rows that another model seems to have made.

    Attributes:
        other: `(N,)` whether a row is of the part that is named, the smaller one if it can be.
        stretch: the first and last row of that part, where it is one stretch; `None` if it is scattered.
        likeness: of pairs across to pairs on one side: 1 for one model, 0 for two unrelated ones.
    """

    other: np.ndarray
    stretch: tuple[int, int] | None
    likeness: float


def parted_by_texts(vectors: np.ndarray, texts: Sequence[str]) -> tuple[Parting | None, int]:
    """Two models' rows, if there are such.

    Args:
        vectors: `(N, D)`, finite, none of them zero, in the order of the index.
        texts: N.

    Returns:
        The parting, or `None`; and the number of pairs of texts that could be compared, 0 if nothing can be told.
    """
    if len(vectors) < MIN_ROWS:
        return None, 0
    unit = unit_rows(np.asarray(vectors, np.float32))
    first, second, shared = pairs_that_share_words(texts)
    alike = np.concatenate([
        np.einsum("pd,pd->p", unit[first[start : start + 8192]], unit[second[start : start + 8192]])
        for start in range(0, max(1, len(first)), 8192)
    ])  # fmt: skip
    pairs = _Pairs(first, second, shared, alike)
    points = narrow(unit)
    judged = [(pairs.likeness(other), other) for other in _stretches_of(len(unit))]
    suspects = sorted((found.likeness, at) for at, (found, _) in enumerate(judged) if found and found.suspicious)
    clearest: tuple[float, Parting] | None = None
    for _, at in suspects[:_TRIED]:
        seed = judged[at][1]
        other, clear = with_exact_edges(points, seed)
        # what has become of it must still be that stretch: a heap made by vectors alone has unlike neighbours
        kept = (other != seed).sum() <= min(seed.sum(), (~seed).sum()) / 2
        found = pairs.likeness(other) if kept else None
        if found and found.suspicious and (clearest is None or clear > clearest[0]):
            clearest = clear, _parting(other, found.likeness)
    if clearest is not None:
        return clearest[1], len(first)
    heaps = two_heaps(points)
    found = None if heaps is None else pairs.likeness(heaps)
    if heaps is not None and found is not None and found.suspicious:
        for heap in (heaps, ~heaps):
            stretch = best_stretch(np.where(heap, 1.0, -1.0))
            if (stretch == heap).mean() >= _ONE_STRETCH:
                return _parting(stretch, found.likeness), len(first)
        return Parting(_smaller(heaps), None, found.likeness), len(first)
    return None, len(first) if found or any(likeness for likeness, _ in judged) else 0


def changed_at(vectors: np.ndarray) -> Parting | None:
    """A stretch of rows whose vectors lie elsewhere than all others: another model's, or very different texts'.

    Args:
        vectors: `(N, D)` as in `parted_by_texts`.
    """
    if len(vectors) < 4 * _MIN_BLOCK:
        return None
    unit = narrow(unit_rows(np.asarray(vectors, np.float32)))
    count = min(_BLOCKS, len(unit) // _MIN_BLOCK)
    overlap = _overlaps(np.array_split(unit, count))
    best: tuple[float, int, int] | None = None
    for start, stop in stretches(count):
        # a block in which the change lies belongs to both
        inside = np.arange(start + (start > 0), stop - (stop < count))
        outside = np.r_[0:start, stop:count]
        if not 2 <= len(inside) or len(outside) < 2:
            continue
        within = min(_typical(overlap, inside), _typical(overlap, outside))
        likeness = float(overlap[np.ix_(inside, outside)].max() / max(within, 1e-3))
        if best is None or likeness < best[0]:
            best = (likeness, start, stop)
    if best is None or best[0] > _CHANGED:
        return None
    edges = np.r_[0, np.cumsum([len(block) for block in np.array_split(unit, count)])]
    rows = np.arange(len(unit))
    other, _ = with_exact_edges(unit, (rows >= edges[best[1]]) & (rows < edges[best[2]]))
    return _parting(other, max(best[0], 0.0))


@dataclass(frozen=True)
class _Likeness:
    likeness: float
    shared: float
    count: int

    @property
    def suspicious(self) -> bool:
        return self.likeness < float(np.interp(self.shared, _LIMITS_AT, _LIMITS))


@dataclass(frozen=True)
class _Pairs:
    first: np.ndarray
    second: np.ndarray
    shared: np.ndarray
    alike: np.ndarray

    def likeness(self, other: np.ndarray) -> _Likeness | None:
        """How alike the best pairs across are, as a share of usual pairs on one side that share no more words."""
        here, there = other[self.first], other[self.second]
        across = np.flatnonzero(here != there)[:_TOP_PAIRS]
        if len(across) < _MIN_PAIRS:
            return None
        most, usual = float(self.shared[across].mean()), []
        for side in (False, True):
            within = np.flatnonzero((here == side) & (there == side) & (self.shared <= most))[:_TOP_PAIRS]
            if len(within) >= _MIN_WITHIN:
                usual.append(float(np.median(self.alike[within])))
        if not usual or min(usual) <= 0:
            return None
        best = float(np.quantile(self.alike[across], 0.9))
        return _Likeness(best / min(usual), float(self.shared[across].mean()), len(across))


def _stretches_of(count: int) -> Iterator[np.ndarray]:
    rows = np.arange(count)
    edges = np.linspace(0, count, _PARTS + 1).astype(np.int64)
    for start, stop in stretches(_PARTS):
        yield (rows >= edges[start]) & (rows < edges[stop])


def _overlaps(blocks: Sequence[np.ndarray]) -> np.ndarray:
    """`(B, B)`: how much of a block lies in another's subspace, 1 for as much as of its own rows, 0 for chance."""
    overlap = np.empty((len(blocks), len(blocks)))
    for row, block in enumerate(blocks):
        space, half = subspace(block), subspace(block[::2])
        chance = space.shape[1] / len(space)
        own = float(((block[1::2] @ half) ** 2).sum(axis=1).mean())
        for column, there in enumerate(blocks):
            held = float(((there @ space) ** 2).sum(axis=1).mean())
            overlap[row, column] = (held - chance) / max(own - chance, 1e-3)
    return np.maximum(overlap, overlap.T)


def _typical(overlap: np.ndarray, blocks: np.ndarray) -> float:
    return float(np.quantile(overlap[np.ix_(blocks, blocks)][~np.eye(len(blocks), dtype=bool)], 0.1))


def _parting(other: np.ndarray, likeness: float) -> Parting:
    smaller = _smaller(other)
    rows = np.flatnonzero(smaller)
    in_one_piece = int(rows[-1] - rows[0] + 1) == len(rows)
    if not in_one_piece:  # the larger part is the stretch, in the middle
        smaller = ~smaller
        rows = np.flatnonzero(smaller)
    return Parting(smaller, (int(rows[0]), int(rows[-1])), likeness)


def _smaller(other: np.ndarray) -> np.ndarray:
    return other if other.mean() <= 0.5 else ~other
