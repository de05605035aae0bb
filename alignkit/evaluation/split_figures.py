"""How near a head comes to the teacher on a whole split, without a search: what is shown beside the test split."""

from __future__ import annotations

import torch
from torch import Tensor

from alignkit.evaluation.aligning import align
from alignkit.evaluation.columns import Column
from alignkit.evaluation.table_rows import Row
from alignkit.heads.base import Head
from alignkit.metrics.alignment import alignment_figures, overlap_at_k, sample_rows
from alignkit.pairs.base import Pairs
from alignkit.pairs.evaluation_set import most_sentences
from alignkit.pairs.unit_rows import unit_rows


@torch.inference_mode()
def alignment_row(
    head: Head, query_head: Head, pairs: Pairs, teacher_mean: Tensor, seed: int = 0, device: torch.device | None = None
) -> Row:
    """What queries find, with the whitening, and how near the head comes to the teacher's vectors, without it.

    Args:
        head: without the whitening.
        query_head: with it; the same head where there is none.
        pairs: what to compare on; of many a seeded sample.
        teacher_mean: `(teacher_dim,)` of the training split.
        seed: of the samples.
        device: where neighbours are searched; `None` is the CPU.

    Returns:
        The figures of `alignment_figures` and `overlap@10`.
    """
    rows = sample_rows(len(pairs), most_sentences(pairs.teacher_dim), seed).numpy()
    teacher, student = torch.from_numpy(unit_rows(pairs.teacher[rows])), pairs.student[rows]
    aligned = align(head, student)
    queries = aligned if query_head is head else align(query_head, student)
    overlap = overlap_at_k(queries.to(device or "cpu"), teacher.to(device or "cpu"), seed=seed)
    figures = alignment_figures(aligned, teacher, teacher_mean, seed=seed)
    found = float(overlap.mean()) if len(overlap) else None
    return Row({**{Column(key): value for key, value in figures.items()}, Column.OVERLAP_10: found})
