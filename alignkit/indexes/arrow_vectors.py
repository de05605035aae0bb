"""Columns of vectors as Arrow has them, as matrices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from alignkit.indexes.usable import matrix_of, usable


def matrix_of_column(column: Any, dim: int) -> tuple[np.ndarray, dict[int, str]]:
    """The vectors of a column of lists, as `usable` gives them.

    Args:
        column: N lists of floats, of any of Arrow's kinds.
        dim: their width; a list of another one is named as a fault.
    """
    values = column.flatten()
    if not column.null_count and not values.null_count and len(values) == dim * len(column):
        if (np.asarray(column.value_lengths()) == dim).all():
            return usable(np.asarray(values).reshape(-1, dim))
    listed = [None if one is None else [np.nan if x is None else x for x in one] for one in column.to_pylist()]
    return matrix_of(listed, dim)


def usual_width(columns: Iterable[Any]) -> int | None:
    """The width of most vectors in the first column that holds any; `None` where none does."""
    for column in columns:
        if widths := [width for width in column.value_lengths().to_pylist() if width]:
            return int(Counter(widths).most_common(1)[0][0])
    return None


def texts_of_column(column: Any) -> list[str]:
    """The texts of a column, "" where there is none."""
    return ["" if one is None else str(one) for one in column.to_pylist()]


def column_of_matrix(vectors: np.ndarray) -> Any:
    """Vectors `(N, D)` as a column of lists of D numbers; NULL for a row that is NaN."""
    import pyarrow as pa

    without = np.isnan(vectors[:, 0])
    mask = pa.array(without) if without.any() else None
    flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1], mask=mask)
