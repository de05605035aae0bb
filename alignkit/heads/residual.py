"""The former name of `mlp` heads, still found in saved heads and configurations."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from alignkit.heads.mlp import MlpHead

# former names of its parts
_RENAMED = {"skip.projection.": "skip.", "correction.layers.": "layers."}


class ResidualHead(MlpHead):
    """An `mlp` whose linear map may be left as the closed form made it.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        hidden: see `MlpHead`.
        depth: see `MlpHead`.
        dropout: see `MlpHead`.
        train_skip: train the linear map too, rather than the correction alone.
        ridge_lambda: see `MlpHead`.
        normalise: see `MlpHead`.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        hidden: int = 2400,
        depth: int = 1,
        dropout: float = 0.0,
        train_skip: bool = True,
        ridge_lambda: float | None = None,
        normalise: bool = True,
    ) -> None:
        super().__init__(student_dim, teacher_dim, hidden, depth, dropout, ridge_lambda, normalise)
        self.train_skip = train_skip
        self.skip.requires_grad_(train_skip)

    def taken_over(self, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """See `Part.taken_over`: its parts had other names."""
        renamed = {}
        for name, tensor in weights.items():
            old = next((start for start in _RENAMED if name.startswith(start)), "")
            renamed[_RENAMED.get(old, "") + name.removeprefix(old)] = tensor
        return super().taken_over(renamed)
