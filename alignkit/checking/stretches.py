"""Stretches and heaps of vectors that lie in other directions than the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alignkit.indexes.exact import unit_rows

_SUBSPACE = 32
_ROUNDS = 15
_WIDEST = 512
_MIN_GROUP = 32


def stretches(parts: int) -> Iterator[tuple[int, int]]:
    """Start and stop of each run of parts that is not all of them; single parts only at the ends."""
    for start in range(parts):
        for stop in range(start + 1, parts + 1):
            at_an_end = start == 0 or stop == parts
            if (start, stop) != (0, parts) and (at_an_end or stop - start > 1):
                yield start, stop


def with_exact_edges(points: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
    """The stretch that lies in the subspace of this stretch rather than in that of the others; and how clearly so."""
    for _ in range(_ROUNDS):
        here, there = subspace(points[~other]), subspace(points[other])
        gain = ((points @ there) ** 2).sum(axis=1) - ((points @ here) ** 2).sum(axis=1)
        again = best_stretch(gain)
        if not 0 < again.sum() < len(points) or (again == other).all():
            break
        other = again
    return other, float(np.where(other, gain, -gain).mean())


def best_stretch(gain: np.ndarray) -> np.ndarray:
    """The stretch whose gains `(N,)` sum up to most: `(N,)` whether a row is in it."""
    sums = np.r_[0.0, np.cumsum(gain, dtype=np.float64)]
    stop = int(np.argmax(sums - np.minimum.accumulate(sums)))
    inside = np.zeros(len(gain), bool)
    inside[int(np.argmin(sums[: stop + 1])) : stop] = True
    return inside


def two_heaps(points: np.ndarray) -> np.ndarray | None:
    """The two heaps that vectors form: by their means first, then by their subspaces."""
    centred = points - points.mean(axis=0)
    other = centred @ subspace(centred)[:, -1] > 0
    for nearer_to in (_means, _subspaces):
        for _ in range(_ROUNDS):
            if min(other.sum(), (~other).sum()) < _MIN_GROUP:
                return None
            before, other = other, nearer_to(points, other)
            if (other == before).all():
                break
    return other


def _means(points: np.ndarray, other: np.ndarray) -> np.ndarray:
    here, there = points[~other].mean(axis=0), points[other].mean(axis=0)
    return points @ (there - here) > (there @ there - here @ here) / 2


def _subspaces(points: np.ndarray, other: np.ndarray) -> np.ndarray:
    here, there = (((points @ subspace(points[group])) ** 2).sum(axis=1) for group in (~other, other))
    return there > here


def subspace(points: np.ndarray) -> np.ndarray:
    """`(D, k)` directions that hold most of these points, the strongest last."""
    if len(points) < points.shape[1]:
        directions = np.linalg.svd(points, full_matrices=False)[2][::-1].T
    else:
        directions = np.linalg.eigh(points.T @ points)[1]
    return directions[:, -max(1, min(_SUBSPACE, len(points) // 4)) :]


def narrow(points: np.ndarray) -> np.ndarray:
    """Wide points in fewer dimensions: subspaces keep their angles nearly, and are found much faster."""
    width = points.shape[1]
    if width <= _WIDEST:
        return points
    return unit_rows(points @ np.random.default_rng(0).standard_normal((width, _WIDEST), dtype=np.float32))
