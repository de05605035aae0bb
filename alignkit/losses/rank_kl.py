"""Rank the batch's sentences as the teacher ranks them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.losses.base import Loss
from alignkit.setting_rules import check, number_above, number_from
from alignkit.vectors import cosine, l2_normalize

RULES = {"temperature": number_above(0), "cosine_weight": number_from(0)}


class RankKlLoss(Loss):
    """`mean KL(softmax(T/τ) ‖ softmax(S/τ)) + cosine_weight · mean(1 − cos(aligned, teacher))`.

    `T[i, j] = cos(tᵢ, tⱼ)` and `S[i, j] = cos(aᵢ, tⱼ)` for j ≠ i: an aligned query against the teacher's index, as in
    use. The other sentences of the batch are the candidates, so a large batch ranks more finely.

    Args:
        temperature: τ, above 0; the smaller it is, the more only the nearest neighbours count.
        cosine_weight: weight of the cosine distance, at least 0; keeps similarities comparable with the teacher's own.

    Source: ListNet, Cao et al., ICML 2007, eq. 8, with the teacher's similarities as scores; in distillation, Fang et
    al., SEED, ICLR 2021, eq. 4.
    """

    compares_batch = True

    def __init__(self, temperature: float = 0.05, cosine_weight: float = 3.0) -> None:
        super().__init__()
        check({"temperature": temperature, "cosine_weight": cosine_weight}, RULES)
        self.temperature = temperature
        self.cosine_weight = cosine_weight

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, D)`, `teacher (B, D)` → scalar; `negatives` are not used. A batch of one has nothing to rank."""
        aligned, teacher = l2_normalize(aligned), l2_normalize(teacher)
        distance = (1 - cosine(aligned, teacher)).mean()
        if len(teacher) < 2:
            return self.cosine_weight * distance
        itself = torch.eye(len(teacher), dtype=torch.bool, device=teacher.device)
        # a large negative number, because -inf would make 0·log 0 = NaN
        wanted = (teacher @ teacher.T / self.temperature).masked_fill(itself, -1e4).log_softmax(dim=1)
        found = (aligned @ teacher.T / self.temperature).masked_fill(itself, -1e4).log_softmax(dim=1)
        divergence = F.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return divergence + self.cosine_weight * distance
