"""Whether what was trained is better than the start, on the validation texts and beyond chance."""

from __future__ import annotations

import numpy as np
import torch

from alignkit.distillation.text_batches import TextBatches
from alignkit.distillation.tokens import Tokens
from alignkit.distillation.tuned_model import TunedModel
from alignkit.metrics.alignment import overlap_at_k
from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.pairs.base import Pairs
from alignkit.training.capacity import VALIDATION_BATCH
from alignkit.training.device import Device
from alignkit.training.row_order import RowOrder
from alignkit.vectors import l2_normalize, unit_cosine

OVERLAP = "val/overlap@10"
# smaller gains are ignored, however significant
LEAST_GAIN = 1e-3


@torch.no_grad()
def text_figures(
    model: TunedModel, pairs: Pairs, tokens: Tokens, select_by: str, device: Device, seed: int
) -> np.ndarray:
    """The figure of each text that decides: overlap@10 where that chooses the state, else the cosine.

    Returns:
        `(Q,)` float64; of many texts, overlap@10 takes a seeded sample.
    """
    place = device.torch_device
    model.to(place).eval()
    order = RowOrder(len(pairs), shuffle=False)
    batches = TextBatches(pairs, tokens, VALIDATION_BATCH, order=lambda: order, epoch=lambda: 0, device=lambda: place)
    aligned, teacher = (torch.empty(len(pairs), pairs.teacher_dim) for _ in range(2))
    for batch in batches:
        rows = batch.rows.cpu()
        aligned[rows], teacher[rows] = l2_normalize(model(batch.student).float()).cpu(), batch.teacher.cpu()
    figures = overlap_at_k(aligned, teacher, seed=seed) if select_by == OVERLAP else unit_cosine(aligned, teacher)
    return figures.double().numpy()


def gain_over(start: np.ndarray, tuned: np.ndarray, seed: int) -> Interval | None:
    """Of the tuned over the start, paired by text."""
    return PairedBootstrap({"start": start, "tuned": tuned}, seed=seed).difference("tuned", "start")


def is_sure(gain: Interval | None) -> bool:
    """Whether a gain is more than chance, and large enough to matter."""
    return gain is not None and gain.low > 0 and gain.value >= LEAST_GAIN


def in_words(gain: Interval | None, select_by: str, ended: str | None) -> str:
    """What training brought and what was kept for it.

    Args:
        gain: `None` if no state was better than the start.
        select_by: the figure that chose the state.
        ended: why training ended early, if it did.
    """
    why = f"; training ended early: {ended}" if ended else ""
    if gain is None:
        return f"no epoch was better than the start on the validation texts, so the start is kept{why}"
    name = OVERLAP.removeprefix("val/") if select_by == OVERLAP else "cosine"
    words = f"{gain.value:+.3f} {name} on the validation texts ({gain.low:+.3f} to {gain.high:+.3f})"
    why_not = "which may be chance" if gain.low <= 0 else "which is too little to matter"
    kept = "" if is_sure(gain) else f", {why_not}, so the start is kept"
    return f"training brought {words}{kept}{why}"
