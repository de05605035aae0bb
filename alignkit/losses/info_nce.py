"""Pick out the right teacher vector among those of other sentences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.errors import ConfigError
from alignkit.losses.base import Loss
from alignkit.setting_rules import SWITCH, check, number_above, whole
from alignkit.vectors import l2_normalize

RULES = {"temperature": number_above(0), "bank_size": whole(0), "in_batch": SWITCH}


class InfoNceLoss(Loss):
    """`−mean log( exp(cos(aᵢ,tᵢ)/τ) / Σⱼ exp(cos(aᵢ,tⱼ)/τ) )`.

    j runs over the batch, over i's hard negatives if it has any, and over the memory bank, which holds the teacher
    vectors of recent batches. A sentence whose teacher vector equals that of i is not a negative of i. The bank is used
    in training only, so that in evaluation every state of the head is measured against the same candidates. Where
    evaluation would have no candidates without the bank, the batch takes its place.

    Args:
        temperature: τ, above 0.
        bank_size: number of teacher vectors to remember, 0 for none.
        in_batch: use the batch's other sentences as negatives. Without them and without a bank, hard negatives are
            required. Turn it off if a batch holds many sentences with the same meaning.

    Source: van den Oord et al., arXiv:1807.03748, eq. 4; memory bank: Wu et al., CVPR 2018, as a queue as in
    He et al., MoCo, CVPR 2020.
    """

    uses_negatives = True
    compares_batch = True
    bank: Tensor

    def __init__(self, temperature: float = 0.05, bank_size: int = 0, in_batch: bool = True) -> None:
        super().__init__()
        check({"temperature": temperature, "bank_size": bank_size, "in_batch": in_batch}, RULES)
        self.temperature = temperature
        self.bank_size = bank_size
        self.in_batch = in_batch
        self.needs_negatives = not in_batch and bank_size == 0
        # saved as extra state because its shape changes with the first batches
        self.register_buffer("bank", torch.empty(0, 0), persistent=False)

    def get_extra_state(self) -> Tensor:
        """The bank, for a checkpoint: a resumed run continues exactly as an uninterrupted one."""
        return self.bank

    def set_extra_state(self, state: Tensor) -> None:
        """The bank, from a checkpoint."""
        self.bank = state

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, D)`, `teacher (B, D)`, `negatives (B, K, D)` or `None` → scalar.

        Raises:
            ConfigError: if training has no negatives of any kind.
        """
        if self.training and self.needs_negatives and negatives is None:
            raise ConfigError(
                "info_nce: the data has no hard negatives, and in_batch=false leaves no others; "
                "use data with hard negatives, in_batch=true, or bank_size above 0"
            )
        stands_in = not self.training and (self.bank_size > 0 or negatives is None or not bool(negatives.any()))
        aligned, teacher = l2_normalize(aligned), l2_normalize(teacher)
        bank = self.bank.to(teacher) if self.training and self.bank.numel() else teacher[:0]
        candidates = torch.cat([teacher, bank])
        scores = aligned @ candidates.T
        itself = torch.arange(len(teacher), device=teacher.device)
        left_out = teacher @ candidates.T > 1 - 1e-6
        left_out[:, : len(teacher)] |= not (self.in_batch or stands_in)
        left_out[itself, itself] = False
        scores = scores.masked_fill(left_out, -torch.inf)
        if negatives is not None:
            negatives = l2_normalize(negatives)
            padded = ~negatives.any(dim=-1) | (torch.einsum("bd,bkd->bk", teacher, negatives) > 1 - 1e-6)
            hard = torch.einsum("bd,bkd->bk", aligned, negatives)
            scores = torch.cat([scores, hard.masked_fill(padded, -torch.inf)], dim=1)
        if self.training and self.bank_size:
            self.bank = candidates[: self.bank_size].detach()
        return F.cross_entropy(scores / self.temperature, itself)
