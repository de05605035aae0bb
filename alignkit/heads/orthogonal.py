"""A rotation, one scale and a shift: keeps the student's geometry and learns from very few pairs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.moments import CenteredMoments
from alignkit.heads.streaming import Batches
from alignkit.heads.sums import moments_of


class OrthogonalHead(Head):
    """`aligned = c·R·(student − mean) + teacher mean`; `R` has orthonormal rows or columns, whichever are fewer.

    Training leaves `R` as it is, since it would not stay orthogonal.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's; need not be the same.
    """

    def __init__(self, student_dim: int, teacher_dim: int) -> None:
        super().__init__()
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.projection = nn.Linear(student_dim, teacher_dim)
        if not self.projection.weight.is_meta:
            nn.init.orthogonal_(self.projection.weight)
        self.projection.weight.requires_grad_(False)

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        return self.projection(student)

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return (self.projection,)

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Centred Procrustes; nothing is to be chosen. One pass over the pairs."""
        weight, bias = solve_procrustes(moments_of(train))
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(bias)
        return {}


def solve_procrustes(moments: CenteredMoments) -> tuple[Tensor, Tensor]:
    """The rotation that maps the centred students nearest to the centred teachers, and its best scale.

    With `Σ s⊗t = U·S·Vᵀ` the rotation is `R = V·Uᵀ`, which maximises `Σ⟨R·s, t⟩`; for student_dim <= teacher_dim it
    is the least-squares one. The scale `ΣS / Σ|R·s|²` is the least-squares one for this `R`.

    Returns:
        `W = c·R (teacher_dim, student_dim)` and `b (teacher_dim,)`, float64.

    Source: Schoenemann, Psychometrika 31 (1966), eq. 1.7 to 1.9; the scale: Schoenemann and Carroll, Psychometrika 35
    (1970).
    """
    left, strengths, right = torch.linalg.svd(moments.cross, full_matrices=False)
    rotation = (left @ right).T
    spread = float((rotation @ moments.gram * rotation).sum())
    # of constant students, or of teachers unrelated to them, only the mean can be predicted
    scale = float(strengths.sum()) / spread if spread > 0 else 0.0
    weight = scale * rotation
    return weight, moments.teacher_mean - weight @ moments.student_mean
