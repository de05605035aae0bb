"""Row by row cosine and squared error as one step, whose gradient is written out.

Both are functions of three numbers a row: the lengths of both vectors and their inner product. Left to autograd, every
intermediate is an array as large as the batch, and there are over ten of them; a GPU that is busy reading and writing
them multiplies matrices for a small part of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# lengths below it are taken as it, as `torch.nn.functional.cosine_similarity` and `normalize` do
SHORTEST = 1e-8


def cosine_and_square(aligned: Tensor, teacher: Tensor, square_weight: float) -> Tensor:
    """`mean(1 − cos(aᵢ, tᵢ)) + square_weight · mean over rows of |aᵢ − tᵢ/|tᵢ||²`, a scalar.

    Args:
        aligned: `(B, D)`; gets a gradient.
        teacher: `(B, D)`, of any length; gets none.
        square_weight: of the squared error; 0 leaves it out.
    """
    result: Tensor = _CosineAndSquare.apply(aligned, teacher.detach(), square_weight)
    return result


class _CosineAndSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, aligned: Tensor, teacher: Tensor, square_weight: float) -> Tensor:
        ours = torch.linalg.vector_norm(aligned, dim=1)
        theirs = torch.linalg.vector_norm(teacher, dim=1).clamp_min(SHORTEST)
        # no matrix product: in training these may be in a coarse format, which has too few bits for a cosine
        inner = (aligned * teacher).sum(dim=1) / theirs
        length = ours.clamp_min(SHORTEST)
        cosines = inner / length
        ctx.save_for_backward(aligned, teacher, ours, theirs, cosines)
        ctx.square_weight = square_weight
        unit = (theirs > SHORTEST).to(inner)  # of a zero row nothing is left
        squares = ours.square() - 2 * inner + unit
        return (1 - cosines).mean() + square_weight * squares.mean()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, None, None]:
        aligned, teacher, ours, theirs, cosines = ctx.saved_tensors
        length, count = ours.clamp_min(SHORTEST), len(aligned)
        # a row's gradient lies in the plane of its two vectors: two numbers a row tell all of it
        along_ours = torch.where(ours > SHORTEST, cosines / length.square(), 0.0) + 2 * ctx.square_weight
        along_theirs = -(1 / length + 2 * ctx.square_weight) / theirs
        scale = above / count
        gradient = teacher * (scale * along_theirs).unsqueeze(1)
        return gradient.addcmul_(aligned, (scale * along_ours).unsqueeze(1)), None, None
