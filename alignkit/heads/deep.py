"""Gated blocks added to ridge regression, from which the head starts: the most expressive head here."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from alignkit.heads.corrected import Corrected
from alignkit.setting_rules import check, number_from, whole

RULES = {"width": whole(1), "blocks": whole(1), "hidden": whole(1), "dropout": number_from(0, below=1)}


class DeepHead(Corrected):
    """A linear map plus a stack of gated residual blocks of one width.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        width: numbers that flow from block to block.
        blocks: how many, at least 1.
        hidden: gated units of each block.
        dropout: probability in [0, 1) of dropping a gated unit while training.
        ridge_lambda: of the linear map's closed form, as of the linear head.
        normalise: scale each student vector to length 1 first.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        width: int = 512,
        blocks: int = 3,
        hidden: int = 1024,
        dropout: float = 0.0,
        ridge_lambda: float | None = None,
        normalise: bool = True,
    ) -> None:
        check({"width": width, "blocks": blocks, "hidden": hidden, "dropout": dropout}, RULES)
        layers = nn.Sequential(
            nn.Linear(student_dim, width),
            *(GatedBlock(width, hidden, dropout) for _ in range(blocks)),
            nn.LayerNorm(width),
            nn.Linear(width, teacher_dim),
        )
        super().__init__(student_dim, teacher_dim, layers, ridge_lambda, normalise)
        self.width = width
        self.blocks = blocks
        self.hidden = hidden
        self.dropout = dropout


class GatedBlock(nn.Module):
    """`v + W·(A·u ⊙ gelu(B·u))` with `u = norm(v)`; `W` starts at zero, so that the block starts as nothing.

    Args:
        width: of `v`.
        hidden: of what is between.
        dropout: probability of dropping a gated unit while training.

    Source: Shazeer, GLU variants improve transformer, arXiv:2002.05202, eq. 6 (GEGLU).
    """

    def __init__(self, width: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        self.drop = nn.Dropout(dropout)
        for parameter in self.down.parameters():
            nn.init.zeros_(parameter)

    def forward(self, values: Tensor) -> Tensor:
        """`(B, width)` → `(B, width)`."""
        seen = self.norm(values)
        return values + self.down(self.drop(self.up(seen) * F.gelu(self.gate(seen))))
