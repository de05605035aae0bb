"""Features whose inner products are a Gaussian kernel, exactly so between landmarks."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from alignkit.heads.moments import CenteredMoments
from alignkit.heads.space import Space
from alignkit.heads.stretch import learn_stretch
from alignkit.vectors import l2_normalize

# added to the landmarks' kernel, whose diagonal is 1: landmarks that lie close together make it nearly singular, and
# weights so large that they blow up float32's rounding
JITTER = 1e-3
# weight of the inner product of `z` beside the Gaussian kernel: it says what to expect far from all landmarks
LINEAR_WEIGHT = 0.3


@dataclass(frozen=True, kw_only=True)
class KernelSpace(Space):
    """`features(s) = [√w·z, L⁻¹·k(z)]` with `k_j(z) = exp(−|z − c_j|²/2h²)`, where h is the bandwidth.

    `L·Lᵀ` is the kernel between the landmarks `c`, so that inner products of features are `w·z·z' + k(z, z')`: exactly
    where one of the two is a landmark, and as near as landmarks allow elsewhere. Ridge regression on the features is
    kernel ridge regression where every training sentence is a landmark.

    Attributes:
        landmarks: `c (m, student_dim)`, in the space of `z`.
        distance: median distance between training sentences there.

    Source: Williams and Seeger, Using the Nyström method to speed up kernel machines, NeurIPS 2000.
    """

    landmarks: Tensor
    distance: float

    @classmethod
    def of(cls, moments: CenteredMoments, sample: Tensor, landmarks: int) -> KernelSpace:
        """Learn the stretch and place the landmarks, evenly spread over the sample.

        Args:
            moments: of pairs whose students are scaled to length 1.
            sample: `(N, student_dim)`, students of some of the pairs.
            landmarks: at most; of a smaller sample, every sentence is one.
        """
        stretch, distance = learn_stretch(moments, sample)
        mean = moments.student_mean.float()
        rows = spread_rows(len(sample), landmarks)
        places = (l2_normalize(sample[rows].float()) - mean) @ stretch
        return cls(mean=mean, stretch=stretch, landmarks=places, distance=distance)

    def narrow(self, landmarks: int) -> KernelSpace:
        """The same space with fewer landmarks."""
        return replace(self, landmarks=self.landmarks[spread_rows(len(self.landmarks), landmarks)])

    def __call__(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, student_dim + m)`."""
        stretched = self.stretched(student)
        whitened = torch.linalg.solve_triangular(self._root, self._kernel(stretched).T, upper=False).T
        return torch.cat([stretched * LINEAR_WEIGHT**0.5, whitened], dim=1)

    def fold(self, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
        """The head's parameters for a linear readout `(teacher_dim, student_dim + m)` of the features."""
        width, scale = len(self.mean), self.bandwidth * self.distance
        near = self.landmarks.double() / scale
        return {
            "stretch.weight": self.stretch.T / scale,
            "stretch.bias": -(self.mean @ self.stretch) / scale,
            "places.weight": near,
            "places.bias": -near.square().sum(dim=1) / 2,
            "readout.weight": torch.linalg.solve_triangular(self._root.double().T, weight[:, width:].T, upper=True).T,
            "readout.bias": bias,
            "skip.weight": weight[:, :width] * LINEAR_WEIGHT**0.5 * scale,
        }

    def _kernel(self, stretched: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, m)`."""
        return (
            torch.cdist(stretched, self.landmarks).square_().mul_(-0.5 / (self.bandwidth * self.distance) ** 2).exp_()
        )

    @cached_property
    def _root(self) -> Tensor:
        """`L (m, m)`; factored in float64, for float32 would lose what the jitter adds."""
        kernel = self._kernel(self.landmarks).double()
        kernel.diagonal().fill_(1 + JITTER)
        return torch.linalg.cholesky(kernel).float()


def spread_rows(count: int, most: int) -> Tensor:
    """At most `most` of `count` rows, evenly spread: sorted int64."""
    kept = min(count, most)
    return torch.arange(kept) * count // kept
