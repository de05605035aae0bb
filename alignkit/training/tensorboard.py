"""Logs a finished run to TensorBoard: histogram, table, hyperparameters with their figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    from torch.utils.tensorboard.writer import SummaryWriter

    with SummaryWriter(str(folder)) as events:
        events.add_histogram("test/cosine", cosines, 0)
        events.add_text("test/table", table, 0)
        # into this folder itself, which is one run
        events.add_hparams(flat(settings), dict(figures), run_name=".", global_step=0)


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
