"""Which vectors of an index can be used; engines hold missing, broken and zero ones too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

MISSING = "it has no vector"
NOT_FINITE = "its vector holds NaN or infinity"
ZERO = "its vector is zero"


def usable(vectors: np.ndarray, faults: dict[int, str] | None = None) -> tuple[np.ndarray, dict[int, str]]:
    """The vectors with NaN in every row that cannot be used, and why.

    Args:
        vectors: `(N, D)` of floats.
        faults: what is known already of some rows.

    Returns:
        `(N, D)` float32, and position → reason.
    """
    vectors, faults = np.ascontiguousarray(vectors, dtype=np.float32), dict(faults or {})
    if vectors.size == 0:
        return vectors, faults
    with np.errstate(invalid="ignore", over="ignore"):
        squares = np.einsum("ij,ij->i", vectors, vectors)
        bad = np.flatnonzero(~((squares > 0) & (squares < np.inf)))
        # the squares of very small and very large numbers are 0 and infinity too
        largest = np.maximum(vectors[bad].max(axis=1, initial=0), -vectors[bad].min(axis=1, initial=0))
    reasons = {
        row: ZERO if most == 0 else NOT_FINITE
        for row, most in zip(bad.tolist(), largest, strict=True)
        if most == 0 or not np.isfinite(most)
    }
    if not vectors.flags.writeable and (reasons or faults):
        vectors = vectors.copy()
    faults = reasons | faults
    if faults:
        vectors[list(faults)] = np.nan
    return vectors, dict(sorted(faults.items()))


def matrix_of(values: Sequence[Iterable[float] | None], dim: int) -> tuple[np.ndarray, dict[int, str]]:
    """Separate vectors as one matrix; a missing one, or one of another width, is NaN and named.

    Args:
        values: N vectors of any float type.
        dim: their width.

    Returns:
        As `usable`.
    """
    rows = [None if value is None else np.asarray(value, dtype=np.float32) for value in values]
    faults = {
        place: MISSING if row is None else of_width(row.size, dim)
        for place, row in enumerate(rows)
        if row is None or row.size != dim
    }
    out = np.full((len(rows), dim), np.nan, np.float32)
    for place, row in enumerate(rows):
        if place not in faults:
            out[place] = row
    return usable(out, faults)


def of_width(got: int, dim: int) -> str:
    """What is said of a vector of another width."""
    return f"its vector has {got} dimensions, not {dim}"
