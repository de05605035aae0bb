"""Student vectors on the scale that a trained layer expects: about zero, components of about 1."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from alignkit.heads.moments import CenteredMoments
from alignkit.vectors import l2_normalize


class Standardise(nn.Module):
    """`(s/|s| − mean) / scale`.

    The components of a unit vector are about `1/√student_dim`: a layer with the usual start hardly sees them. One scale
    serves all dimensions: to divide each by its own deviation would blow the quiet ones up.

    Args:
        student_dim: width of the student's vectors.
        normalise: scale each vector to length 1 first.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, student_dim: int, normalise: bool = True) -> None:
        super().__init__()
        self.normalise = normalise
        self.register_buffer("mean", torch.zeros(student_dim))
        # of unit vectors about zero, which is what there is before any were seen
        self.register_buffer("scale", torch.full((), student_dim**-0.5 if normalise else 1.0))

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, student_dim)`."""
        if self.normalise:
            student = l2_normalize(student)
        return (student - self.mean) / self.scale

    @torch.no_grad()
    def measure(self, moments: CenteredMoments) -> None:
        """Take mean and scale from moments of the students, of unit vectors where `normalise` is set."""
        self.mean.copy_(moments.student_mean)
        variance = moments.gram.diagonal().mean() / max(1, moments.count)
        if variance > 0:  # students that are all alike have no scale
            self.scale.copy_(variance.sqrt())
