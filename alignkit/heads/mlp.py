"""A perceptron beside ridge regression, from which it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.heads.corrected import Corrected


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
        hidden: int = 2048,
        depth: int = 1,
        dropout: float = 0.0,
        ridge_lambda: float | None = None,
        normalise: bool = True,
    ) -> None:
        if hidden < 1 or depth < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"hidden={hidden}, depth={depth}, dropout={dropout}: expected at least 1, at least 1, and 0 up to 1"
            )
        widths = [student_dim] + [hidden] * depth
        layers: list[nn.Module] = []
        for width, following in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(width, following), nn.GELU(), nn.Dropout(dropout)]
        layers.append(nn.Linear(hidden, teacher_dim))
        super().__init__(student_dim, teacher_dim, nn.Sequential(*layers), ridge_lambda, normalise)
        self.hidden = hidden
        self.depth = depth
        self.dropout = dropout

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of any module; weights that have no linear map, which older versions saved, are the perceptron alone."""
        if any(name.startswith("layers.") for name in state_dict) and "standardise.mean" not in state_dict:
            self.normalise = self.standardise.normalise = False
            state_dict = {**self._nothing_beside(state_dict["layers.0.weight"]), **state_dict}
        return super().load_state_dict(state_dict, strict, assign)

    def _nothing_beside(self, like: Tensor) -> dict[str, Tensor]:
        return {
            "standardise.mean": like.new_zeros(self.student_dim),
            "standardise.scale": like.new_ones(()),
            "skip.weight": like.new_zeros(self.teacher_dim, self.student_dim),
            "skip.bias": like.new_zeros(self.teacher_dim),
        }
