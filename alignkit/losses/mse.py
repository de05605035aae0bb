"""Squared error of the head's own output: what ridge regression minimises."""

from __future__ import annotations

from torch import Tensor

from alignkit.losses.base import Loss
from alignkit.vectors import l2_normalize


class MseLoss(Loss):
    """`mean |aligned − teacher/|teacher||²`, summed over dimensions.

    It takes the unnormalised output; between two normalised vectors it would be twice the cosine distance. The sum over
    dimensions makes its size independent of the teacher's width.

    Source: Reimers and Gurevych, Making monolingual sentence embeddings multilingual, EMNLP 2020, eq. 1.
    """

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, teacher_dim)`, `teacher (B, teacher_dim)` → scalar; `negatives` are not used."""
        return (aligned - l2_normalize(teacher)).square().sum(dim=-1).mean()
