"""A space in which students are far apart where their teachers are: kernels measure distances there."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from alignkit.heads.moments import CenteredMoments
from alignkit.heads.ridge import cross_validated_lambda, solve_ridge
from alignkit.vectors import l2_normalize

DISTANCE_SENTENCES = 1000


def learn_stretch(moments: CenteredMoments, sample: Tensor) -> tuple[Tensor, float]:
    """`M` of `z = M·(s/|s| − mean)`, and the median distance between sentences in the space of `z`.

    `M` stretches directions by how much a ridge solution `W` uses them, `(WᵀW)^¼`. It is scaled to `E|z|² = 1`.

    Args:
        moments: of pairs whose students are scaled to length 1.
        sample: `(N, student_dim)`, students of some of the pairs.

    Returns:
        `M (student_dim, student_dim)` float32, symmetric, and the distance; 1 where all sentences are alike.

    Source: one step of the recursion of Radhakrishnan et al., Science 383 (2024), begun at a linear model and tempered
    by the root.
    """
    weight = solve_ridge(moments, cross_validated_lambda(moments))[0]
    values, vectors = torch.linalg.eigh(weight.T @ weight)
    stretch = (vectors * values.clamp_min(0).pow(0.25)) @ vectors.T
    spread = float((stretch @ moments.gram * stretch).sum()) / moments.count
    stretch = stretch / (math.sqrt(spread) or 1.0)
    student = l2_normalize(sample[:: -(-len(sample) // DISTANCE_SENTENCES)].float())
    stretched = (student.double() - moments.student_mean) @ stretch
    distance = float(torch.pdist(stretched).median()) if len(stretched) > 1 else 0.0
    return stretch.float(), distance or 1.0
