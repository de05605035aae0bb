"""Ridge regression plus what a perceptron can add to it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.heads.streaming import Batches


class ResidualHead(Head):
    """`aligned = skip(student) + correction(student)`: a linear head and a perceptron.

    The closed form solves the skip and lets the correction start at exactly zero.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        hidden: units of each hidden layer of the correction.
        depth: its hidden layers, at least 1.
        dropout: probability in [0, 1) of dropping one of its hidden units while training.
        train_skip: train the skip too, rather than the correction alone.
        ridge_lambda: of the skip's closed form, as of the linear head.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        hidden: int = 2048,
        depth: int = 1,
        dropout: float = 0.0,
        train_skip: bool = True,
        ridge_lambda: float | None = None,
    ) -> None:
        super().__init__()
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.hidden = hidden
        self.depth = depth
        self.dropout = dropout
        self.train_skip = train_skip
        self.ridge_lambda = ridge_lambda
        self.skip = LinearHead(student_dim, teacher_dim, ridge_lambda).requires_grad_(train_skip)
        self.correction = MlpHead(student_dim, teacher_dim, hidden, depth, dropout)

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        return self.skip(student) + self.correction(student)

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return *self.skip.output_layers(), *self.correction.output_layers()

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The linear head's closed form for the skip; see `ClosedForm.solve`. One pass over the pairs."""
        for parameter in self.correction.layers[-1].parameters():
            nn.init.zeros_(parameter)
        return self.skip.solve(train, validation, chosen)
