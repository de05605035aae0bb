"""Layers of heads in NumPy: what `numpy_forms` is made of."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

Weights = Mapping[str, np.ndarray]
Shapes = dict[str, tuple[int, ...]]
# rows whose hidden units stay in the processor's cache
GELU_ROWS = 16


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays zero.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def affine(weights: Weights, layer: str, values: np.ndarray) -> np.ndarray:
    """A linear layer of `(B, width)`: `(B, following)`, an array of its own."""
    product = values @ weights[f"{layer}.weight"].T
    bias = weights.get(f"{layer}.bias")
    if bias is not None:
        product += bias
    return product


def layer_shapes(name: str, width: int, following: int, bias: bool = True) -> Shapes:
    """Of the weights of a linear layer."""
    shapes: Shapes = {f"{name}.weight": (following, width)}
    return shapes | {f"{name}.bias": (following,)} if bias else shapes


def gelu(values: np.ndarray) -> np.ndarray:
    """`v·Φ(v)` of `(B, H)` float32, in place; the error is below 1e-6.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26. SciPy's erf takes three times as long.
    """
    for start in range(0, len(values), GELU_ROWS):
        rows = values[start : start + GELU_ROWS]
        size = np.abs(rows) * np.float32(math.sqrt(0.5))
        t = 1 / (1 + np.float32(0.3275911) * size)
        tail = np.float32(1.061405429) * t
        for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            tail = (tail + np.float32(coefficient)) * t
        # |v|/2 · (1 − erf(|v|/√2)) is what lacks to max(v, 0)
        tail *= np.exp(-size * size) * size * np.float32(math.sqrt(0.5))
        np.subtract(np.maximum(rows, 0), tail, out=rows)
    return values
