"""The alignment figures over batches and processes, for training.

Apart from `collected_figures`, because importing torchmetrics takes seconds and nothing but training needs it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.metric import jit_distributed_available as distributed_available
from torchmetrics.utilities import dim_zero_cat

from alignkit.metrics.alignment import Row, sample_rows
from alignkit.metrics.collected_figures import Collected
from alignkit.shapes import check_shapes


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
        of_several: whether other processes have pairs of the split too. That some are connected does not say so: a head
            may be tried in one of them.
    """

    full_state_update = False
    teacher_mean: Tensor
    sampled: Tensor
    others: Tensor

    def __init__(
        self,
        teacher_mean: Tensor,
        count: int,
        seed: int = 0,
        sample: int = 2000,
        others: Tensor | None = None,
        of_several: Callable[[], bool] = distributed_available,
    ) -> None:
        super().__init__(distributed_available_fn=of_several)
        check_shapes(teacher_mean=(teacher_mean, "D"))
        self.seed = seed
        self.register_buffer("teacher_mean", teacher_mean.float(), persistent=False)
        others = torch.zeros(0, len(teacher_mean)) if others is None else others
        self.register_buffer("others", others.float(), persistent=False)
        sampled = torch.zeros(count, dtype=torch.bool)
        sampled[sample_rows(count, sample, seed)] = True
        self.register_buffer("sampled", sampled, persistent=False)
        for name in Collected._fields:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, rows: Tensor, aligned: Tensor, teacher: Tensor) -> None:
        """Add a batch.

        Args:
            rows: `(B,)` int64, the row of each pair in the split.
            aligned: `(B, D)`, the head's output, not normalised.
            teacher: `(B, D)`, rows of length 1.
        """
        batch = Collected.of_batch(rows, aligned, teacher, self.teacher_mean, self.sampled)
        for name, value in batch._asdict().items():
            getattr(self, name).append(value)

    def compute(self) -> Row:
        """`cosine_mean|p05|p50|p95`, `cosine_centered_mean`, `spearman`, `overlap@10`, `self_mrr`, `self_recall@1`."""
        # processes of unequal length are padded with rows that another has seen; each row counts once
        collected = Collected(*(dim_zero_cat(getattr(self, name)) for name in Collected._fields))
        return collected.figures(self.others, self.seed)
