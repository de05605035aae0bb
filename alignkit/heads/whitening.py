"""Queries whitened for search: an affine map behind a head, so that the right text comes first.

A head is fitted to look like the teacher. Given the student's vector, the teacher's is roughly Gaussian around the
head's output `h`, with the covariance Σ of what the head misses; the text most likely to be meant has the largest
Mahalanobis score `dᵀΣ⁻¹(h − μ)`, not the largest cosine with `h`. So the query is mapped, the index is left as it is:

    query = (Σ + ε·mean(Σ)·I)^(−b) · (h − κ·μ),   Σ = (1 − w)·Σ_residual + w·Σ_teacher

`b = 0, κ = 0` leaves the query as it is; `b = 0, κ > 0` undoes the shrinkage of least squares towards the mean;
`w = 1` is the teacher's own whitening, which needs no residuals.

Source: the score is that of linear discriminant analysis with a shared covariance (Hastie, Tibshirani and Friedman, The
Elements of Statistical Learning, section 4.3); its mixing with another covariance is regularised discriminant analysis
(Friedman, JASA 84 (1989)).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# ε: keeps directions in which hardly anything varies from taking over the score
FLOOR = 0.1


@dataclass(frozen=True)
class Setting:
    """One member of the family.

    Attributes:
        power: b, at least 0.
        centre: κ in [0, 1].
        teacher_share: w in [0, 1].
    """

    power: float = 0.0
    centre: float = 0.0
    teacher_share: float = 1.0

    @property
    def is_plain(self) -> bool:
        """Whether it leaves queries as they are."""
        return self.power == 0 and self.centre == 0


PLAIN = Setting()


def covariance(vectors: Tensor) -> Tensor:
    """Of `(N, D)` around their mean, `(D, D)` float64; zero for fewer than two."""
    centred = vectors.double() - vectors.double().mean(dim=0) if len(vectors) else vectors.double()
    return centred.T @ centred / max(1, len(vectors) - 1)


class Whitenings:
    """The family around one head.

    Args:
        residuals: `(N, D)`, teacher less head, of pairs that the head was not fitted on.
        teacher: `(D, D)`, covariance of the teacher's vectors.
        mean: `(D,)` of the teacher's vectors.
    """

    def __init__(self, residuals: Tensor, teacher: Tensor, mean: Tensor) -> None:
        self.mean = mean.double()
        self._residual, self._teacher = _unit_trace(covariance(residuals)), _unit_trace(teacher.double())
        self._eigen: dict[float, tuple[Tensor, Tensor]] = {}

    def map(self, setting: Setting) -> tuple[Tensor, Tensor]:
        """Weight `(D, D)` and bias `(D,)`, float64, of the affine map behind the head."""
        weight = torch.eye(len(self.mean), dtype=torch.float64)
        if setting.power:
            values, vectors = self._eigenpairs(setting.teacher_share)
            stretch = (values + FLOOR * values.mean()).pow(-setting.power)
            # of mean 1, so that outputs keep about their size
            weight = (vectors * (stretch / stretch.mean())) @ vectors.T
        return weight, -setting.centre * (weight @ self.mean)

    def _eigenpairs(self, share: float) -> tuple[Tensor, Tensor]:
        if share not in self._eigen:
            values, vectors = torch.linalg.eigh((1 - share) * self._residual + share * self._teacher)
            self._eigen[share] = values.clamp_min(0), vectors
        return self._eigen[share]


def _unit_trace(matrix: Tensor) -> Tensor:
    trace = float(matrix.trace())
    return matrix / trace if trace > 0 else torch.eye(len(matrix), dtype=matrix.dtype) / len(matrix)
