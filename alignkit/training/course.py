"""What training did to a head, or what is known of one that is not trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from alignkit.heads.base import Head
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.collected_figures import Collected
from alignkit.pairs.base import PairSplits
from alignkit.training.batches import PairBatches
from alignkit.training.capacity import fits, validation_batch
from alignkit.training.row_order import BLOCK_ROWS, RowOrder
from alignkit.training.solver_batches import sample_of_teacher

SAMPLED_ROWS = 2_000


@dataclass(frozen=True)
class Course:
    """How training went.

    Attributes:
        figures: of the kept state on the validation split, by name; those that are undefined are left out.
        best_passes: over the training pairs, after which the kept state was; 0 is the starting point.
        passes: in all.
        ended: why training ended before its epochs were over; `None` where it did not.
        batch_size: half of what was asked for where the memory was too small; `None` where nothing was trained.
    """

    figures: Mapping[str, float]
    best_passes: float = 0.0
    passes: float = 0.0
    ended: str | None = None
    batch_size: int | None = None


@torch.no_grad()
def stay_at_start(
    head: Head, loss: nn.Module, splits: PairSplits, teacher_mean: torch.Tensor, batch_size: int, seed: int,
    device: torch.device,
) -> Course:  # fmt: skip
    """The course of a head that is not trained: figures of its starting point, without Lightning, which loads for long.

    Args:
        head: on the device; it is left in evaluation mode.
        loss: `forward(aligned, teacher, negatives=None)`.
        splits: only the validation split is aligned.
        teacher_mean: `(teacher_dim,)` of the training split.
        batch_size: of training.
        seed: of the samples.
        device: of the head.
    """
    pairs, in_memory = splits.validation, fits((splits.train, splits.validation), device)
    batches = PairBatches(
        pairs,
        validation_batch(batch_size),
        RowOrder(len(pairs), shuffle=False, block=1 if in_memory else BLOCK_ROWS),
        epoch=lambda: 0,
        device=device,
        in_memory=in_memory,
        with_negatives=bool(getattr(loss, "uses_negatives", False)),
    )
    sampled = torch.zeros(len(pairs), dtype=torch.bool, device=device)
    sampled[sample_rows(len(pairs), SAMPLED_ROWS, seed)] = True
    head, loss, mean = head.eval(), loss.to(device).eval(), teacher_mean.to(device)
    collected, losses = [], 0.0
    for batch in batches:
        aligned = head(batch.student).float()
        losses += float(loss(aligned, batch.teacher, batch.negatives)) * len(batch.rows)
        collected.append(Collected.of_batch(batch.rows, aligned, batch.teacher, mean, sampled))
    figures = Collected.joined(collected).figures(sample_of_teacher(splits.train, seed), seed)
    named = {"val/loss": losses / len(pairs), **{f"val/{name}": value for name, value in figures.items()}}
    finite = {name: value for name, value in named.items() if value is not None and abs(value) < float("inf")}
    return Course(finite)
