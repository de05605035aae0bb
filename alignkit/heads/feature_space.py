"""Random cosine features of student vectors, in a space stretched along what the teacher cares for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from alignkit.heads.moments import CenteredMoments
from alignkit.heads.space import Space
from alignkit.heads.stretch import learn_stretch


@dataclass(frozen=True, kw_only=True)
class FeatureSpace(Space):
    """`features(s) = [z, √(2/m)·cos(Ω·z/h + φ)]`, where h is the bandwidth.

    Attributes:
        directions: `Ω (m, student_dim)`, for a bandwidth equal to the median distance.
        phases: `φ (m,)` in [0, 2π).

    Source: Rahimi and Recht, Random features for large-scale kernel machines, NeurIPS 2007.
    """

    directions: Tensor
    phases: Tensor

    @classmethod
    def of(cls, moments: CenteredMoments, sample: Tensor, features: int, seed: int) -> FeatureSpace:
        """Learn the stretch and draw the directions.

        Args:
            moments: of pairs whose students are scaled to length 1.
            sample: `(N, student_dim)`, students of some of the pairs.
            features: m.
            seed: of the directions and phases.
        """
        stretch, distance = learn_stretch(moments, sample)
        generator = torch.Generator().manual_seed(seed)
        directions = orthogonal_directions(len(stretch), features, generator).to(stretch)
        phases = 2 * math.pi * torch.rand(features, generator=generator)
        return cls(
            mean=moments.student_mean.float(),
            stretch=stretch,
            directions=directions / distance,
            phases=phases.to(stretch),
        )

    def narrow(self, features: int) -> FeatureSpace:
        """The same space with the first features only."""
        return replace(self, directions=self.directions[:features], phases=self.phases[:features])

    def __call__(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, student_dim + m)`."""
        stretched = self.stretched(student)
        waves = torch.addmm(self.phases, stretched, self.directions.T, alpha=1 / self.bandwidth)
        return torch.cat([stretched, waves.cos_().mul_(self.height)], dim=1)

    @property
    def width(self) -> int:
        """Length of a feature vector."""
        return len(self.mean) + len(self.phases)

    @property
    def height(self) -> float:
        """`√(2/m)`, so that inner products of features approximate the kernel."""
        return math.sqrt(2 / len(self.phases))

    def narrow_moments(self, moments: CenteredMoments, features: int) -> CenteredMoments:
        """Moments of the same pairs in `narrow(features)`: a block of this space's moments, rescaled."""
        width = len(self.mean) + features
        scale = moments.student_mean.new_ones(width)
        scale[len(self.mean) :] = self.narrow(features).height / self.height
        return replace(
            moments,
            student_mean=moments.student_mean[:width] * scale,
            gram=moments.gram[:width, :width] * torch.outer(scale, scale),
            cross=moments.cross[:width] * scale[:, None],
        )

    def fold(self, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
        """The head's parameters for a linear readout `(teacher_dim, student_dim + m)` of the features."""
        width = len(self.mean)
        waves = (self.directions @ self.stretch / self.bandwidth).double()
        skip = weight[:, :width] @ self.stretch.double()
        return {
            "waves.weight": waves,
            "waves.bias": (self.phases - waves @ self.mean.double()).remainder(2 * math.pi),
            "readout.weight": weight[:, width:] * self.height,
            "readout.bias": bias - skip @ self.mean.double(),
            "skip.weight": skip,
        }


def orthogonal_directions(width: int, count: int, generator: torch.Generator) -> Tensor:
    """`(count, width)`: rows distributed as standard normal vectors, orthogonal within each block of `width` rows.

    Source: Yu et al., Orthogonal random features, NeurIPS 2016.
    """
    blocks = []
    for _ in range(-(-count // width)):
        rotation = torch.linalg.qr(torch.randn(width, width, generator=generator))[0]
        lengths = torch.randn(width, width, generator=generator).norm(dim=1)
        blocks.append(rotation * lengths[:, None])
    return torch.cat(blocks)[:count]
