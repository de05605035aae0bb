"""How near a head comes to the teacher on a whole split, without a search: what is shown beside the test split."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from alignkit.evaluation.aligning import align
from alignkit.evaluation.columns import Column
from alignkit.evaluation.table_rows import Row, RowName
from alignkit.heads.base import Head
from alignkit.metrics.alignment import alignment_figures, overlap_at_k, sample_rows
from alignkit.pairs.base import Pairs
from alignkit.pairs.evaluation_set import most_sentences
from alignkit.pairs.unit_rows import unit_rows


@torch.inference_mode()
def alignment_rows(
    heads: Mapping[RowName, Head], pairs: Pairs, teacher_mean: Tensor, seed: int = 0
) -> dict[RowName, Row]:
    """One row of alignment figures for each head.

    Args:
        heads: row → head.
        pairs: what to compare on; of many a seeded sample.
        teacher_mean: `(teacher_dim,)` of the training split.
        seed: of the samples.

    Returns:
        Rows with the figures of `alignment_figures` and `overlap@10`.
    """
    rows = sample_rows(len(pairs), most_sentences(pairs.teacher_dim), seed).numpy()
    teacher = torch.from_numpy(unit_rows(pairs.teacher[rows]))
    student = pairs.student[rows]
    return {name: _row(align(head, student), teacher, teacher_mean, seed) for name, head in heads.items()}


def _row(aligned: Tensor, teacher: Tensor, teacher_mean: Tensor, seed: int) -> Row:
    overlap = overlap_at_k(aligned, teacher, seed=seed)
    figures = alignment_figures(aligned, teacher, teacher_mean, seed=seed)
    found = float(overlap.mean()) if len(overlap) else None
    return Row({**{Column(key): value for key, value in figures.items()}, Column.OVERLAP_10: found})
