"""How near a head comes to the teacher on a whole split, without a search: what is shown beside the test split."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from alignkit.evaluation.aligning import align
from alignkit.heads.base import Head
from alignkit.metrics.alignment import Row, alignment_figures, overlap_at_k, sample_rows
from alignkit.pairs.base import Pairs
from alignkit.pairs.evaluation_set import most_sentences
from alignkit.vectors import l2_normalize


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
