"""Another loss over the first dimensions of the teacher's space, so that indexes cut short still fit."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.losses.base import Loss


class MatryoshkaLoss(Loss):
    """`mean over p of loss(aligned[:, :p], teacher[:, :p])`.

    Worth it where the teacher itself was trained to be cut short.

    Args:
        loss: the loss to apply to each prefix; it normalises for itself.
        prefixes: numbers of leading dimensions, or shares of the teacher's width in (0, 1].

    Source: Kusupati et al., Matryoshka representation learning, NeurIPS 2022, eq. 1.
    """

    def __init__(self, loss: nn.Module, prefixes: Sequence[float] = (1.0, 0.5, 0.25)) -> None:
        super().__init__()
        if not prefixes or not all(prefix > 0 and (prefix <= 1 or prefix == int(prefix)) for prefix in prefixes):
            raise ConfigError(
                f"prefixes={list(prefixes)}: expected shares above 0 and at most 1, or whole numbers of dimensions"
            )
        # one for each prefix: a memory bank holds vectors of one width
        self.losses = nn.ModuleList(copy.deepcopy(loss) for _ in prefixes)
        self.prefixes = tuple(prefixes)
        self.needs_negatives = getattr(loss, "needs_negatives", False)
        self.uses_negatives = getattr(loss, "uses_negatives", False)

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, D)`, `teacher (B, D)`, `negatives (B, K, D)` or `None` → scalar."""
        total = aligned.new_zeros(())
        for loss, width in zip(self.losses, self._widths(teacher.shape[-1]), strict=True):
            cut = None if negatives is None else negatives[..., :width]
            total = total + loss(aligned[..., :width], teacher[..., :width], cut)
        return total / len(self.prefixes)

    def _widths(self, teacher_dim: int) -> list[int]:
        widths = [max(1, round(p * teacher_dim)) if isinstance(p, float) and p <= 1 else int(p) for p in self.prefixes]
        if max(widths) > teacher_dim:
            raise ConfigError(f"prefixes={list(self.prefixes)}: the teacher has only {teacher_dim} dimensions")
        return widths
