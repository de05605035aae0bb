"""One matrix and a bias: the head that needs no training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.held_out import HeldOut
from alignkit.heads.kept_moments import KeptMoments
from alignkit.heads.ridge import best_lambda, check_lambda, moments_and_lambda, solve_ridge
from alignkit.heads.streaming import Batches


class LinearHead(Head):
    """`aligned = W·student + b`; the closed form is centred ridge regression.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        ridge_lambda: strength of the closed form's regularisation, relative to the mean eigenvalue of the students'
            Gram matrix; `None` chooses it on validation.
    """

    def __init__(self, student_dim: int, teacher_dim: int, ridge_lambda: float | None = None) -> None:
        super().__init__()
        check_lambda(ridge_lambda)
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.ridge_lambda = ridge_lambda
        self.projection = nn.Linear(student_dim, teacher_dim)

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
        """Centred ridge regression; see `ClosedForm.solve`. One pass over the pairs."""
        return self.solve_keeping(train, validation, chosen)[0]

    def solve_keeping(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], KeptMoments]:
        """See `Updatable.solve_keeping`."""
        given = (chosen or {}).get("ridge_lambda", self.ridge_lambda)
        moments, ridge_lambda = moments_and_lambda(train, validation, given)
        kept = KeptMoments(moments)
        return self.solve_from(kept, {"ridge_lambda": ridge_lambda}), kept

    @torch.no_grad()
    def solve_from(self, kept: KeptMoments, chosen: dict[str, Any]) -> dict[str, Any]:
        """See `Updatable.solve_from`."""
        weight, bias = solve_ridge(kept.moments, chosen["ridge_lambda"])
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(bias)
        return {"ridge_lambda": chosen["ridge_lambda"]}

    def choose_lambda(self, kept: KeptMoments, held_out: HeldOut) -> float:
        """See `Updatable.choose_lambda`."""
        return best_lambda(kept.moments, held_out.student, held_out).strength
