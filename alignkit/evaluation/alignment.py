"""The alignment rows of the table: what the head does to pairs, beside what it must be compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.metrics.alignment import Row, alignment_figures, overlap_at_k, sample_rows
from alignkit.pairs.base import Pairs
from alignkit.vectors import l2_normalize

# a table needs a few copies of its vectors at once: numbers in one, and sentences at the most; more would not move it
MOST_ELEMENTS, MOST_SENTENCES = 8 * 1024 * 1024, 5_000


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


@torch.inference_mode()
def align(head: Head, student: np.ndarray | Tensor, batch_rows: int = 4096) -> Tensor:
    """`(N, student_dim)` → `(N, teacher_dim)` float32 on the CPU, in batches."""
    chunks = [
        head(torch.from_numpy(np.array(student[start : start + batch_rows], dtype=np.float32))).float()
        for start in range(0, len(student), batch_rows)
    ]
    return torch.cat(chunks)


def most_sentences(teacher_dim: int) -> int:
    """How many sentences a table is made of: 5,000, fewer of wide vectors."""
    return max(1, min(MOST_SENTENCES, MOST_ELEMENTS // teacher_dim))


@torch.inference_mode()
def alignment_rows(heads: Mapping[str, Head], pairs: Pairs, teacher_mean: Tensor, seed: int = 0) -> dict[str, Row]:
    """One row of alignment figures for each head.

    Args:
        heads: name of the row → head.
        pairs: what to compare on; of many a seeded sample.
        teacher_mean: `(teacher_dim,)` of the training split.
        seed: of the samples.

    Returns:
        Rows by name, each with the figures of `alignment_figures` and `overlap@10`.
    """
    rows = sample_rows(len(pairs), most_sentences(pairs.teacher_dim), seed).numpy()
    teacher = l2_normalize(torch.from_numpy(np.array(pairs.teacher[rows], dtype=np.float32)))
    student = pairs.student[rows]
    return {name: _row(align(head, student), teacher, teacher_mean, seed) for name, head in heads.items()}


def _row(aligned: Tensor, teacher: Tensor, teacher_mean: Tensor, seed: int) -> Row:
    overlap = overlap_at_k(aligned, teacher, seed=seed)
    figures = alignment_figures(aligned, teacher, teacher_mean, seed=seed)
    return {**figures, "overlap@10": float(overlap.mean()) if len(overlap) else None}
