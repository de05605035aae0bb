"""Preserve the similarities between sentences, whatever their directions."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from alignkit.losses.base import Loss
from alignkit.vectors import l2_normalize


class RelationalLoss(Loss):
    """`mean (cos(aᵢ, aⱼ) − cos(tᵢ, tⱼ))²` over all pairs of the batch.

    A rotated copy of the teacher's space scores 0, so this loss alone does not make aligned queries fit the teacher's
    index. Mix it with a loss that does.

    Source: Park et al., Relational knowledge distillation, CVPR 2019; the similarity loss of Zhang et al., Jasper and
    Stella, arXiv:2412.19048, eq. 2.
    """

    compares_batch = True

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, D)`, `teacher (B, D)` → scalar; `negatives` are not used."""
        aligned, teacher = l2_normalize(aligned), l2_normalize(teacher)
        return F.mse_loss(aligned @ aligned.T, teacher @ teacher.T)
