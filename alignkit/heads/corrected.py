"""The base of heads that start at ridge regression and learn what it cannot express."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.ridge import check_lambda, moments_and_lambda, ridge_moments, solve_ridge
from alignkit.heads.standardise import Standardise
from alignkit.heads.streaming import Batches, unit_students

# the widths that the rates below were found at
STUDENT_DIM, TEACHER_DIM, HIDDEN = 384, 384, 2048
SKIP_RATE, LAST_RATE = 0.05, 0.15


class Corrected(Head):
    """`aligned = skip(z) + layers(z)`, where z is the standardised student: a linear map and a correction.

    The last of the layers starts at zero, so that the closed form, ridge regression in the skip, is where training
    starts. A subclass makes the layers.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        layers: `(B, student_dim)` → `(B, teacher_dim)`; the last of them is an `nn.Linear`.
        ridge_lambda: of the skip's closed form, as of the linear head.
        normalise: scale each student vector to length 1 first.
    """

    closed_form_is_whole = False

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        layers: nn.Sequential,
        ridge_lambda: float | None = None,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        check_lambda(ridge_lambda)
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.ridge_lambda = ridge_lambda
        self.normalise = normalise
        self.standardise = Standardise(student_dim, normalise)
        self.skip = nn.Linear(student_dim, teacher_dim)
        self.layers = layers
        # a random start gives vectors of about length 1
        nn.init.normal_(self.skip.weight, std=(student_dim * teacher_dim) ** -0.5)
        nn.init.zeros_(self.skip.bias)
        for parameter in layers[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        student = self.standardise(student)
        return self.skip(student) + self.layers(student)

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """The linear head's closed form for the skip; see `ClosedForm.solve`. One pass over the pairs."""
        given = (chosen or {}).get("ridge_lambda", self.ridge_lambda)
        held_out = None if validation is None else self._seen(validation)
        moments, ridge_lambda = moments_and_lambda(self._seen(train), held_out, given)
        self.standardise.measure(moments)
        weight, bias = solve_ridge(moments, ridge_lambda)
        self.skip.weight.copy_(weight * self.standardise.scale)
        self.skip.bias.copy_(bias + weight @ moments.student_mean)
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)
        return {"ridge_lambda": ridge_lambda}

    @torch.no_grad()
    def look(self, train: Batches) -> None:
        """Mean and scale of the students, for a random start."""
        self.standardise.measure(ridge_moments(self._seen(train)))

    def rates(self) -> dict[str, float]:
        """Rates that change each layer's output by a similar fraction per step, whatever the widths.

        With Adam every weight moves by the rate, so what a layer gives moves by the rate times its inputs; what the
        skip and the last layer give are components of a unit vector, `1/√teacher_dim` each.

        Source: Yang et al., Tensor Programs V: Tuning large neural networks via zero-shot hyperparameter transfer,
        NeurIPS 2021, table 8; the constants are measured.
        """
        inputs = STUDENT_DIM / self.student_dim
        outputs = (TEACHER_DIM / self.teacher_dim) ** 0.5
        width = min(1.0, HIDDEN / self.output_layers()[-1].in_features)
        return {
            "skip.": SKIP_RATE * inputs * outputs,
            f"layers.{len(self.layers) - 1}.": LAST_RATE * width * outputs,
            "layers.": inputs * width,
        }

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return self.skip, cast(nn.Linear, self.layers[-1])

    def _seen(self, batches: Batches) -> Batches:
        return _UnitStudents(batches) if self.normalise else batches


class _UnitStudents:
    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return unit_students(self.batches)

    def __len__(self) -> int:
        return len(self.batches)
