"""A plain multi-layer perceptron."""

from __future__ import annotations

from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.heads.base import Head


class MlpHead(Head):
    """`depth` hidden layers of `hidden` units with GELU and dropout, then one linear layer.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        hidden: units of each hidden layer.
        depth: hidden layers, at least 1.
        dropout: probability in [0, 1) of dropping a hidden unit while training.
    """

    def __init__(
        self, student_dim: int, teacher_dim: int, hidden: int = 2048, depth: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if hidden < 1 or depth < 1 or not 0 <= dropout < 1:
            raise ConfigError(
                f"hidden={hidden}, depth={depth}, dropout={dropout}: expected at least 1, at least 1, and 0 up to 1"
            )
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.hidden = hidden
        self.depth = depth
        self.dropout = dropout
        widths = [student_dim] + [hidden] * depth
        layers: list[nn.Module] = []
        for width, following in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(width, following), nn.GELU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear(hidden, teacher_dim))

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        return self.layers(student)

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return (self.layers[-1],)  # type: ignore[return-value]
