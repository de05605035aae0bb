"""Tell the right teacher vector from those of other sentences."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.errors import ConfigError
from alignkit.losses.base import Loss, check_positive
from alignkit.vectors import l2_normalize


class InfoNceLoss(Loss):
    """`−mean log( exp(cos(aᵢ,tᵢ)/τ) / Σⱼ exp(cos(aᵢ,tⱼ)/τ) )`.

    j runs over the batch, the hard negatives of i where there are any, and the memory bank: teacher vectors of recent
    batches. Sentences of the batch with the very same teacher vector as i are no negatives of it. The bank is of
    training alone: in evaluation every state of the head, the starting point too, is measured against the same.

    Args:
        temperature: τ above 0.
        bank_size: teacher vectors to remember, 0 for none.
        in_batch: take the batch's other sentences as negatives; without them, and without a bank, hard negatives are
            needed. Worth leaving out where a batch holds many sentences that mean the same.

    Source: van den Oord et al., arXiv:1807.03748, eq. 4; memory bank: Wu et al., CVPR 2018, as a queue as in
    He et al., MoCo, CVPR 2020.
    """

    uses_negatives = True
    bank: Tensor

    def __init__(self, temperature: float = 0.05, bank_size: int = 0, in_batch: bool = True) -> None:
        super().__init__()
        check_positive(temperature=temperature)
        if bank_size < 0:
            raise ConfigError(f"bank_size={bank_size}: expected at least 0")
        self.temperature = temperature
        self.bank_size = bank_size
        self.in_batch = in_batch
        self.needs_negatives = not in_batch and bank_size == 0
        # its size comes with the first batches, so it is saved as extra state, whose shape may change
        self.register_buffer("bank", torch.empty(0, 0), persistent=False)

    def get_extra_state(self) -> Tensor:
        """The bank, for a checkpoint: a resumed run goes on with what an uninterrupted one would have."""
        return self.bank

    def set_extra_state(self, state: Tensor) -> None:
        """The bank, from a checkpoint."""
        self.bank = state

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, D)`, `teacher (B, D)`, `negatives (B, K, D)` or `None` → scalar."""
        aligned, teacher = l2_normalize(aligned), l2_normalize(teacher)
        bank = self.bank.to(teacher) if self.training and self.bank.numel() else teacher[:0]
        candidates = torch.cat([teacher, bank])
        scores = aligned @ candidates.T
        itself = torch.arange(len(teacher), device=teacher.device)
        left_out = teacher @ candidates.T > 1 - 1e-6
        # without the bank the batch stands in for it in evaluation, where there would be nothing else
        left_out[:, : len(teacher)] |= not (self.in_batch or (self.bank_size and not self.training))
        left_out[itself, itself] = False
        scores = scores.masked_fill(left_out, -torch.inf)
        if negatives is not None:
            padded = negatives.abs().sum(dim=-1) == 0
            hard = torch.einsum("bd,bkd->bk", aligned, l2_normalize(negatives))
            scores = torch.cat([scores, hard.masked_fill(padded, -torch.inf)], dim=1)
        if self.training and self.bank_size:
            self.bank = candidates[: self.bank_size].detach()
        return F.cross_entropy(scores / self.temperature, itself)
