"""Logs a finished run to TensorBoard: histogram, table, hyperparameters with their figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from alignkit.event_files import why_no_events


def log_result(
    folder: Path, settings: Mapping[str, Any], cosines: Tensor, table: str, figures: Mapping[str, float]
) -> None:
    """Add to the run's events.

    Args:
        folder: of the run.
        settings: nested; secrets already taken out.
        cosines: `(N,)` of the test split.
        table: Markdown.
        figures: name → value, shown beside the hyperparameters.
    """
    if why_no_events(folder) is not None:
        return
    events = TensorBoardLogger(folder, name="", version="", default_hp_metric=False)
    events.experiment.add_histogram("test/cosine", cosines, 0)
    events.experiment.add_text("test/table", table, 0)
    # one call with metrics: without them Lightning drops it
    events.log_hyperparams(flat(settings), {name: torch.tensor(value) for name, value in figures.items()})
    events.finalize("success")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as one level of dotted names.

    >>> flat({"model": {"hidden": 64, "name": None}})
    {'model.hidden': 64, 'model.name': 'None'}
    """
    found: dict[str, str | int | float | bool] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[prefix + key] = value if isinstance(value, str | int | float | bool) else str(value)
    return found
