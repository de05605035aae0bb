"""Teacher vectors as everything that measures needs them: float32, each of length 1."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch

from alignkit.vectors import l2_normalize

# larger arrays stay where they are, and each block is scaled when it is read
HELD_BYTES = 256 * 1024 * 1024


class UnitRows:
    """Rows of length 1 of an array that is too large to copy; behaves as the array of them.

    Args:
        vectors: `(N, D)` of any float type, an array or a memory map.
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.shape = vectors.shape

    def __len__(self) -> int:
        return int(self.shape[0])

    def __getitem__(self, at: slice | np.ndarray | int) -> np.ndarray:
        """Some rows as an array of their own, `(M, D)` float32; one row for an int."""
        return _scaled(self.vectors[at])

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Scale every row to length 1, once; a zero row stays zero.

    Args:
        vectors: `(N, D)` of any float type, an array or a memory map.

    Returns:
        `(N, D)` float32, rows of length 1. Above 256 MiB it is a view that scales each block when it is read.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]])).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    if isinstance(vectors, UnitRows):
        return cast(np.ndarray, vectors)
    if 4 * vectors.shape[0] * vectors.shape[1] > HELD_BYTES:
        return cast(np.ndarray, UnitRows(vectors))
    return _scaled(vectors)


def _scaled(vectors: np.ndarray) -> np.ndarray:
    own = torch.from_numpy(np.array(vectors, dtype=np.float32))
    return l2_normalize(own).numpy()
