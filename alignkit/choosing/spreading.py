"""Choose rows that stand for all others: the middles of as many clusters as there are rows to choose.

k-means++ needs a distance to every row for every mean that it starts from. So the rows are divided into `√count` cells
first; each gets means by its share of the error, which start within it.

Source: Arthur and Vassilvitskii, k-means++, SODA 2007; the texts nearest to such means as those to be embedded first:
Hu, Mac Namee and Delany, Off to a good start, FLAIRS 2010. `tests/bench/choosing_table.py` measures it against others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

# Lloyd's steps: more of them choose no better
STEPS = 2
# products that a step over all rows and means may take, some ten seconds of a core; of more the starts are taken
MOST_PRODUCTS = 10**11
# distances that are held at once
_SCORES_AT_ONCE = 8_000_000
_SMALL = 1e-12


@dataclass(frozen=True)
class Covered:
    """What the teacher has embedded before.

    Attributes:
        vectors: `(M, student_dim)` of all of it or of a sample.
        each: how many texts each of them stands for.
        texts: M, or none where they are not known.
    """

    vectors: np.ndarray
    each: float = 1.0
    texts: Sequence[str] = ()


def spread_rows(
    vectors: np.ndarray, weights: np.ndarray, count: int, *, covered: Sequence[Covered] = (), seed: int = 0
) -> np.ndarray:
    """At most `count` of N rows, as dense as all of them are, fewer where there are many that were chosen before.

    Args:
        vectors: `(N, D)` float32, any length.
        weights: `(N,)` how often each stands in the data, above 0.
        count: rows to choose; fewer are chosen where many rows are the same, or a mean has no row nearest to it.
        covered: what was chosen before.
        seed: of the first means.

    Returns:
        Distinct rows, ascending int64.

    >>> two_heaps = np.array([[1, 0], [1, 0.1], [1, -0.1], [0, 1], [0.1, 1], [-0.1, 1]], dtype=np.float32)
    >>> spread_rows(two_heaps, np.ones(6), 2).tolist()
    [0, 3]
    """
    if count >= len(vectors):
        return np.arange(len(vectors))
    rng = np.random.default_rng(seed)
    share = weights / weights.sum()
    middle = (share @ vectors).astype(np.float32)
    unit = _directions(vectors, middle)
    cells = _means(unit, share, unit[_spread_out(unit, share, max(1, round(count**0.5)), rng)])
    cell_of, distance = _nearest(unit, cells)
    before = np.zeros(len(cells))
    for earlier in covered:
        in_cell = _nearest(_directions(earlier.vectors, middle), cells)[0]
        before += earlier.each * np.bincount(in_cell, minlength=len(cells))
    error = np.bincount(cell_of, share * distance, minlength=len(cells))
    wanted = np.maximum(error / max(error.sum(), _SMALL) * (count + before.sum()) - before, 0)
    shares = _whole(wanted, count, np.bincount(cell_of, minlength=len(cells)))
    starts = []
    for cell in np.flatnonzero(shares):
        rows = np.flatnonzero(cell_of == cell)
        starts.append(rows[_spread_out(unit[rows], share[rows], int(shares[cell]), rng)])
    means = unit[np.concatenate(starts)]
    # cells that get none are covered, and must not draw the others' means to them
    open_rows = np.flatnonzero(shares[cell_of])
    if len(open_rows) < len(unit):
        unit, share = unit[open_rows], share[open_rows]
    if len(unit) * len(means) * unit.shape[1] <= MOST_PRODUCTS:
        means = _means(unit, share, means)
    mean_of, distance = _nearest(unit, means)
    order = np.lexsort((distance, mean_of))
    return np.sort(open_rows[order[np.diff(mean_of[order], prepend=-1) > 0]])


def _spread_out(unit: np.ndarray, share: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Distinct rows, each drawn in proportion to its squared distance from those before it: k-means++'s start."""
    drawn, left = np.empty(min(count, len(unit)), np.int64), share.astype(np.float64)
    for number in range(len(drawn)):
        total = left.cumsum()
        if total[-1] <= 0:  # all others are the same as those that are drawn
            return drawn[:number]
        drawn[number] = row = min(int(np.searchsorted(total, rng.random() * total[-1], side="right")), len(unit) - 1)
        distance = np.maximum((2 - 2 * unit @ unit[row]).astype(np.float64), 0) * share
        left = np.minimum(left, distance) if number else distance
        left[drawn[: number + 1]] = 0
    return drawn


def _means(unit: np.ndarray, share: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Lloyd's steps; a mean that no row is nearest to stays where it is."""
    for _ in range(STEPS):
        nearest = _nearest(unit, means)[0]
        members = sparse.csr_array(
            (share.astype(np.float32), nearest, np.arange(len(unit) + 1)), (len(unit), len(means))
        )
        total = np.bincount(nearest, share, minlength=len(means)).astype(np.float32)[:, None]
        means = np.where(total > 0, (members.T @ unit) / np.maximum(total, np.finfo(np.float32).tiny), means)
    return means


def _nearest(unit: np.ndarray, means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row the mean that it is nearest to, and the squared distance: `(N,)` each."""
    which, distance = np.empty(len(unit), dtype=np.int64), np.empty(len(unit), dtype=np.float32)
    lengths = (means * means).sum(axis=1)
    at_once = max(1, _SCORES_AT_ONCE // len(means))
    for start in range(0, len(unit), at_once):
        here = slice(start, start + at_once)
        scores = lengths - 2 * unit[here] @ means.T
        which[here] = scores.argmin(axis=1)
        distance[here] = np.maximum(1 + scores.min(axis=1), 0)
    return which, distance


def _whole(wanted: np.ndarray, count: int, room: np.ndarray) -> np.ndarray:
    """Whole numbers in proportion to `wanted`, `count` in all where there is room, none above its room."""
    taken = np.zeros(len(wanted), dtype=np.int64)
    while (left := count - taken.sum()) > 0 and (free := (taken < room)).any():
        share = np.where(free, wanted, 0.0)
        share = share if share.sum() > 0 else np.where(free, room - taken, 0.0)
        exact = share / share.sum() * left
        more = np.floor(exact).astype(np.int64)
        for cell in np.argsort(more - exact, kind="stable")[: left - more.sum()]:
            more[cell] += 1
        taken = np.minimum(taken + more, room)
    return taken


def _directions(vectors: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Of length 1, as seen from the middle; a copy."""
    rows = vectors - middle
    rows /= np.maximum(np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None], _SMALL)
    return rows
