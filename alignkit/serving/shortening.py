"""Shorter vectors on request: the first dimensions, at length 1 again."""

from __future__ import annotations

import numpy as np


def shorten(vectors: np.ndarray, dimensions: int | None) -> np.ndarray:
    """Keep the first `dimensions` of `(N, D)` and renormalise; a row that becomes zero stays zero.

    >>> shorten(np.array([[0.6, 0.0, 0.8]], dtype=np.float32), 2).tolist()
    [[1.0, 0.0]]
    """
    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    shorter = np.ascontiguousarray(vectors[:, :dimensions])
    return shorter / np.maximum(np.linalg.norm(shorter, axis=1, keepdims=True), 1e-12)
