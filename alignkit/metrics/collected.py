"""The alignment figures over batches and processes, for training.

Apart from `alignment`, because importing torchmetrics takes seconds and nothing but training needs it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from alignkit.metrics.alignment import (
    Row,
    centered_cosine,
    cosine_summary,
    overlap_at_k,
    pairwise_spearman,
    sample_rows,
)
from alignkit.metrics.self_retrieval import self_retrieval
from alignkit.shapes import check_shapes
from alignkit.vectors import l2_normalize, unit_cosine

# the figures of `AlignmentMetric`
FIGURES = (
    "cosine_mean",
    "cosine_p05",
    "cosine_p50",
    "cosine_p95",
    "cosine_centered_mean",
    "spearman",
    "overlap@10",
    "self_mrr",
    "self_recall@1",
)
# texts that look for themselves: more would cost more than a validation should
SELF_QUERIES = 1_000


class AlignmentMetric(Metric):
    """Collects pairs over batches and processes, and computes the figures over all of them at once.

    It keeps the cosines of all pairs, and the vectors of a seeded sample of rows for the figures that compare
    sentences with each other. Both are sorted by row before use, so the number of processes changes nothing.

    Args:
        teacher_mean: `(D,)`, mean of the training split's normalised teacher vectors.
        count: number of pairs in the split.
        seed: of the samples.
        sample: number of rows whose vectors are kept.
        others: `(M, D)`, the teacher's vectors of other texts, among which a text has to find itself too.
    """

    full_state_update = False
    rows: list[Tensor]
    cosines: list[Tensor]
    centered: list[Tensor]
    sample_rows_seen: list[Tensor]
    sample_aligned: list[Tensor]
    sample_teacher: list[Tensor]
    teacher_mean: Tensor
    sampled: Tensor
    others: Tensor

    def __init__(
        self, teacher_mean: Tensor, count: int, seed: int = 0, sample: int = 2000, others: Tensor | None = None
    ) -> None:
        super().__init__()
        check_shapes(teacher_mean=(teacher_mean, "D"))
        self.seed = seed
        self.register_buffer("teacher_mean", teacher_mean.float(), persistent=False)
        others = torch.zeros(0, len(teacher_mean)) if others is None else others
        self.register_buffer("others", others.float(), persistent=False)
        sampled = torch.zeros(count, dtype=torch.bool)
        sampled[sample_rows(count, sample, seed)] = True
        self.register_buffer("sampled", sampled, persistent=False)
        for name in ("rows", "cosines", "centered", "sample_rows_seen", "sample_aligned", "sample_teacher"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, rows: Tensor, aligned: Tensor, teacher: Tensor) -> None:
        """Add a batch.

        Args:
            rows: `(B,)` int64, the row of each pair in the split.
            aligned: `(B, D)`, the head's output, not normalised.
            teacher: `(B, D)`, rows of length 1.
        """
        check_shapes(
            rows=(rows, "B"), aligned=(aligned, "B D"), teacher=(teacher, "B D"), teacher_mean=(self.teacher_mean, "D")
        )
        aligned, teacher = l2_normalize(aligned.detach().float()), teacher.detach().float()
        self.rows.append(rows)
        self.cosines.append(unit_cosine(aligned, teacher))
        self.centered.append(centered_cosine(aligned, teacher, self.teacher_mean))
        mine = self.sampled[rows]
        self.sample_rows_seen.append(rows[mine])
        self.sample_aligned.append(aligned[mine])
        self.sample_teacher.append(teacher[mine])

    def compute(self) -> Row:
        """`cosine_mean|p05|p50|p95`, `cosine_centered_mean`, `spearman`, `overlap@10`, `self_mrr`, `self_recall@1`."""
        # processes of unequal length are padded with rows that another has seen; each row counts once
        rows = dim_zero_cat(self.rows)
        first = _first_of_each(rows)
        sample = dim_zero_cat(self.sample_rows_seen)
        order = _first_of_each(sample)
        aligned, teacher = dim_zero_cat(self.sample_aligned)[order], dim_zero_cat(self.sample_teacher)[order]
        overlap = overlap_at_k(aligned, teacher)
        asked = torch.arange(min(SELF_QUERIES, len(aligned)), device=aligned.device)
        corpus = torch.cat([teacher, self.others.to(teacher)])
        return {
            **cosine_summary(dim_zero_cat(self.cosines)[first]),
            "cosine_centered_mean": cosine_summary(dim_zero_cat(self.centered)[first])["cosine_mean"],
            "spearman": pairwise_spearman(aligned, teacher, seed=self.seed),
            "overlap@10": float(overlap.mean()) if len(overlap) else None,
            **self_retrieval(aligned[asked], corpus, asked).figures(),
        }


def _first_of_each(rows: Tensor) -> Tensor:
    ordered, order = torch.sort(rows, stable=True)
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    return order[fresh]
