"""Heads that know nothing of the pairs: what any trained head is held against."""

from __future__ import annotations

import torch
from torch import Tensor

from alignkit.heads.linear import LinearHead


def raw_head(student_dim: int, teacher_dim: int, seed: int = 0) -> LinearHead:
    """A seeded random projection: what comparing unaligned spaces amounts to."""
    head = LinearHead(student_dim, teacher_dim)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        head.projection.weight.copy_(torch.randn(teacher_dim, student_dim, generator=generator) / student_dim**0.5)
        head.projection.bias.zero_()
    return head.eval().requires_grad_(False)


def mean_head(student_dim: int, teacher_mean: Tensor) -> LinearHead:
    """Predicts the training teacher mean whatever the student says: the floor of every cosine."""
    head = LinearHead(student_dim, len(teacher_mean))
    with torch.no_grad():
        head.projection.weight.zero_()
        head.projection.bias.copy_(teacher_mean)
    return head.eval().requires_grad_(False)
