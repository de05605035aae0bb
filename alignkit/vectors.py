"""Arithmetic on vectors that every room needs: normalise, compare, find the neighbours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.neighbours import top_k

__all__ = ["are_among", "cosine", "l2_normalize", "top_k", "unit_cosine"]

# rounding to float16 takes less than 1e-6 off the cosine of a vector with itself
SAME = 0.99999
ROWS_AT_ONCE = 256


def l2_normalize(vectors: Tensor, eps: float = 1e-12) -> Tensor:
    """Scale each row to length 1; a zero row stays zero.

    Args:
        vectors: `(..., D)`.
        eps: lengths below it are taken as `eps`.

    >>> import torch
    >>> l2_normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return F.normalize(vectors, dim=-1, eps=eps)


def unit_in_place(vectors: Tensor) -> Tensor:
    """As `l2_normalize`, without a second copy."""
    return F.normalize(vectors, dim=-1, out=vectors)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of each row of `first` with the same row of `second`, in [-1, 1]; 0 where either is a zero row.

    Args:
        first: `(..., D)`.
        second: `(..., D)`, broadcast against `first`.

    Returns:
        `(...)`, in the inputs' dtype.

    >>> import torch
    >>> cosine(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([1., 0.])
    """
    return unit_cosine(l2_normalize(first), l2_normalize(second))


def unit_cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of each row of `first` with the same row of `second`, in [-1, 1].

    Args:
        first: `(..., D)`, rows of length 1 or zero.
        second: `(..., D)`, likewise.
    """
    return (first * second).sum(dim=-1).clamp(-1.0, 1.0)


def are_among(vectors: Tensor, others: Tensor) -> Tensor:
    """`(N,)` bool: whether each row points where one of `(M, D)` others does, but for rounding to float16.

    Args:
        vectors: `(N, D)` float32.
        others: `(M, D)` float32, at least one.

    >>> import torch
    >>> are_among(torch.eye(3), torch.tensor([[0.0, 2.0, 0.0]]))
    tensor([False,  True, False])
    """
    unit = l2_normalize(others).T
    return torch.cat([(block @ unit).amax(dim=1) > SAME for block in l2_normalize(vectors).split(ROWS_AT_ONCE)])
