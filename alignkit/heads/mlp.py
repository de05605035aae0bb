"""A perceptron beside ridge regression, from which it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.ridge import check_lambda, moments_and_lambda, ridge_moments, solve_ridge
from alignkit.heads.standardise import Standardise
from alignkit.heads.streaming import Batches, unit_students
from alignkit.setting_rules import check, number_from, whole

# the widths that the rates below were found at
STUDENT_DIM, TEACHER_DIM, HIDDEN = 384, 384, 2048
SKIP_RATE, LAST_RATE = 0.05, 0.15
# limit on generated numbers: a small file must not allocate much memory
MOST_FILLED_IN = 10**8
RULES = {"hidden": whole(1), "depth": whole(1), "dropout": number_from(0, below=1)}


class MlpHead(Head):
    """`aligned = skip(z) + layers(z)`, where z is the standardised student: a linear map and a perceptron.

    The perceptron has `depth` hidden layers of `hidden` units with GELU and dropout. Its last layer starts at zero, so
    that the closed form, ridge regression in the skip, is where training starts.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        hidden: units of each hidden layer.
        depth: hidden layers, at least 1.
        dropout: probability in [0, 1) of dropping a hidden unit while training.
        ridge_lambda: of the linear map's closed form, as of the linear head.
        normalise: scale each student vector to length 1 first.
    """

    closed_form_is_whole = False

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        hidden: int = 2400,
        depth: int = 1,
        dropout: float = 0.0,
        ridge_lambda: float | None = None,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        check_lambda(ridge_lambda)
        check({"hidden": hidden, "depth": depth, "dropout": dropout}, RULES)
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.hidden = hidden
        self.depth = depth
        self.dropout = dropout
        self.ridge_lambda = ridge_lambda
        self.normalise = normalise
        self.standardise = Standardise(student_dim, normalise)
        self.skip = nn.Linear(student_dim, teacher_dim)
        # a random start gives vectors of about length 1
        nn.init.normal_(self.skip.weight, std=(student_dim * teacher_dim) ** -0.5)
        nn.init.zeros_(self.skip.bias)
        widths = [student_dim] + [hidden] * depth
        layers: list[nn.Module] = []
        for width, following in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(width, following), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, teacher_dim))
        self._forget()

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
        moments, ridge_lambda = moments_and_lambda(train, validation, given, unit_students if self.normalise else None)
        self.standardise.measure(moments)
        weight, bias = solve_ridge(moments, ridge_lambda)
        self.skip.weight.copy_(weight * self.standardise.scale)
        self.skip.bias.copy_(bias + weight @ moments.student_mean)
        self._forget()
        return {"ridge_lambda": ridge_lambda}

    @torch.no_grad()
    def look(self, train: Batches) -> None:
        """Mean and scale of the students, for a random start."""
        self.standardise.measure(ridge_moments(train, unit_students if self.normalise else None))

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

    def taken_over(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Part.taken_over`: without a linear map, they are of a perceptron alone, on vectors as they came."""
        first = weights.get("layers.0.weight")
        if first is None or "standardise.mean" in weights:
            return weights
        if self.student_dim * self.teacher_dim > MOST_FILLED_IN:
            raise ValueError(f"no linear map of {self.student_dim} to {self.teacher_dim} dimensions is filled in")
        self.normalise = self.standardise.normalise = False
        return {
            "standardise.mean": first.new_zeros(self.student_dim),
            "standardise.scale": first.new_ones(()),
            "skip.weight": first.new_zeros(self.teacher_dim, self.student_dim),
            "skip.bias": first.new_zeros(self.teacher_dim),
            **weights,
        }

    def _forget(self) -> None:
        for parameter in self.layers[-1].parameters():
            nn.init.zeros_(parameter)
