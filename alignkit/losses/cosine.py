"""Cosine distance: only the direction matters."""

from __future__ import annotations

from torch import Tensor

from alignkit.losses.base import Loss
from alignkit.losses.row_cosines import cosine_and_square


class CosineLoss(Loss):
    """`mean(1 − cos(aligned, teacher))`, in [0, 2].

    Source: the cosine embedding loss of matching pairs; used to distil one model's vectors into another's as `l_cos` of
    Sanh et al., DistilBERT, arXiv:1910.01108, section 2.
    """

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, teacher_dim)`, `teacher (B, teacher_dim)` → scalar; `negatives` are not used."""
        return cosine_and_square(aligned, teacher, 0.0)
