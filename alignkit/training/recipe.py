"""How a head is trained: the settings, and who has a say in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from alignkit.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """Optimisation settings. The defaults here are overlaid by the head's recipe, the loss's, then the command line.

    Attributes:
        batch_size: pairs a step, at least 1.
        max_epochs: 0 gives the starting point alone.
        lr: AdamW's learning rate, the peak one under `one_cycle`.
        weight_decay: AdamW's, at least 0.
        schedule: `constant` or `one_cycle`.
        warmup_fraction: share of the steps before the peak of `one_cycle`.
        gradient_clip_val: largest gradient norm; `None` does not clip.
        select_by: the validation figure by which the kept state is chosen.
        early_stop_patience: stop after this many epochs without a new best; `None` never stops.
        precision: `auto` (the device's choice), `bf16` (where the chip has it), or one of Lightning's names.
    """

    batch_size: int = 64
    max_epochs: int = 5
    lr: float = 1e-3
    weight_decay: float = 1e-4
    schedule: str = "constant"
    warmup_fraction: float = 0.1
    gradient_clip_val: float | None = None
    select_by: str = "val/loss"
    early_stop_patience: int | None = None
    precision: str = "auto"

    def overlay(self, settings: Mapping[str, Any] | None) -> Recipe:
        """A recipe with `settings` in place of its own; `None` values leave it as it is.

        Raises:
            ConfigError: for a name that is no setting.
        """
        known = {field.name for field in fields(self)}
        given = {name: value for name, value in (settings or {}).items() if value is not None}
        if unknown := sorted(given.keys() - known):
            raise ConfigError(f"unknown recipe setting '{unknown[0]}'; expected one of {', '.join(sorted(known))}")
        return replace(self, **given)
