"""A perceptron beside ridge regression, from which it starts."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from alignkit.heads.corrected import Corrected
from alignkit.setting_rules import check, number_from, whole

# limit on generated numbers: a small file must not allocate much memory
MOST_FILLED_IN = 10**8
RULES = {"hidden": whole(1), "depth": whole(1), "dropout": number_from(0, below=1)}


class MlpHead(Corrected):
    """A linear map plus a perceptron: `depth` hidden layers of `hidden` units with GELU and dropout.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        hidden: units of each hidden layer.
        depth: hidden layers, at least 1.
        dropout: probability in [0, 1) of dropping a hidden unit while training.
        ridge_lambda: of the linear map's closed form, as of the linear head.
        normalise: scale each student vector to length 1 first.
    """

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
        check({"hidden": hidden, "depth": depth, "dropout": dropout}, RULES)
        widths = [student_dim] + [hidden] * depth
        layers: list[nn.Module] = []
        for width, following in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(width, following), nn.GELU(), nn.Dropout(dropout)]
        layers.append(nn.Linear(hidden, teacher_dim))
        super().__init__(student_dim, teacher_dim, nn.Sequential(*layers), ridge_lambda, normalise)
        self.hidden = hidden
        self.depth = depth
        self.dropout = dropout

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
