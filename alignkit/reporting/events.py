"""An evaluation in TensorBoard: its figures, and the vectors in the embedding projector."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from alignkit.evaluation.outcome import Evaluation
from alignkit.event_files import why_no_events
from alignkit.vectors import l2_normalize

logger = logging.getLogger(__name__)

PROJECTED = 500


def log_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write events into a run folder: scalars `evaluation/<row>/<figure>` and at most 1,000 projected vectors.

    Args:
        evaluation: what to show.
        folder: of the events.
    """
    if (error := why_no_events(folder)) is not None:
        logger.warning("%s: no TensorBoard events, their names do not fit there (%s)", folder, error.strerror)
        return
    from torch.utils.tensorboard.writer import SummaryWriter

    comparison = evaluation.comparison
    queries = comparison.test.queries
    count = min(PROJECTED, len(queries))
    texts = (
        [" ".join(text.split())[:80] for text in queries.texts[:count]]
        if queries.texts
        else [str(row) for row in range(count)]
    )
    groups = list(comparison.test.groups[:count]) if comparison.test.groups else ["-"] * count
    vectors = torch.cat([l2_normalize(comparison.vectors[name][:count].float()) for name in ("teacher", "aligned")])
    labels = [
        [row, text, str(group)] for row in ("teacher", "aligned") for text, group in zip(texts, groups, strict=True)
    ]
    with SummaryWriter(str(folder)) as writer:
        for name, row in evaluation.rows.items():
            for key, value in row.items():
                if value is not None:
                    writer.add_scalar(f"evaluation/{name}/{key}", value, 0)
        writer.add_text(
            "evaluation/verdict", f"{comparison.verdict.headline} {' '.join(comparison.verdict.reasons)}", 0
        )
        # metadata must be in the order of the header
        writer.add_embedding(vectors, labels, metadata_header=["row", "text", "group"], tag="queries")
