"""How a head was trained, for its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from alignkit.runs.whitening_record import WhiteningRecord


@dataclass(frozen=True)
class Cost:
    """What a head stores, and what one query costs it."""

    parameters: int
    flops_per_query: int


@dataclass(frozen=True)
class TrainingHistory:
    """What training did.

    Attributes:
        model: kind of the head.
        chosen: setting → value that was chosen on the validation split.
        best_epoch: of the state that was kept; 0 is the starting point.
        epochs: that were trained.
        ended: why training ended early; `None` where it did not.
        refitted: whether the head was fitted once more on train and validation.
        recipe: of the training.
        cost: of the head.
        selection: what `model=auto` tried, as `Selection.to_json` has it; `None` where the head was named.
        device: what it ran on, and why.
        validation: figures of the kept state on the validation split.
        seed: of everything that is drawn.
        seconds: step → what it took.
        whitening: how queries are whitened and why; `None` where nothing was chosen.
    """

    model: str
    chosen: Mapping[str, Any]
    best_epoch: float
    epochs: float
    ended: str | None
    refitted: bool
    recipe: Mapping[str, Any]
    cost: Cost
    selection: Mapping[str, Any] | None
    device: str
    validation: Mapping[str, float]
    seed: int
    seconds: Mapping[str, float]
    whitening: WhiteningRecord | None = None

    def to_json(self) -> dict[str, Any]:
        """As the artifact and `metrics.json` have it."""
        return asdict(self)
