"""An evaluation in TensorBoard: its figures, and the vectors in the embedding projector."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import RowName
from alignkit.event_files import why_no_events
from alignkit.reporting.projector import write_projector
from alignkit.reporting.verdict_words import verdict_words

logger = logging.getLogger(__name__)

PROJECTED = 500
# of a component of a vector: the projector needs no more, and the file is a third as long
DECIMALS = 4


def log_evaluation(result: Result, folder: Path) -> None:
    """Write events into a run folder: scalars `evaluation/<row>/<figure>` and at most 1,000 projected vectors.

    Args:
        result: what to show.
        folder: of the events.
    """
    if (error := why_no_events(folder)) is not None:
        logger.warning("%s: no TensorBoard events, their names do not fit there (%s)", folder, error.strerror)
        return
    from torch.utils.tensorboard.writer import SummaryWriter

    shown = result.projection
    count = min(PROJECTED, len(shown.aligned))
    texts = [" ".join(text.split())[:80] for text in shown.texts[:count]] if shown.texts else [*map(str, range(count))]
    groups = shown.groups[:count] if shown.groups else ["-"] * count
    labels = [
        [row.value, text, group]
        for row in (RowName.TEACHER, result.product.row)
        for text, group in zip(texts, groups, strict=True)
    ]
    words = verdict_words(result.verdict)
    with SummaryWriter(str(folder)) as writer:
        for name, row in result.rows.items():
            for key, value in row.to_json().items():
                if value is not None:
                    writer.add_scalar(f"evaluation/{result.label(name)}/{key}", value, 0)
        writer.add_text("evaluation/verdict", f"{words.headline} {' '.join(words.reasons)}", 0)
    vectors = torch.cat([shown.teacher[:count], shown.aligned[:count]]).double().round(decimals=DECIMALS)
    write_projector(folder, "queries", vectors.numpy(), labels, ("row", "text", "group"))
