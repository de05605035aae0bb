"""Which state of the head is kept: the best one seen, the starting point included."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor


class KeepBest(Callback):
    """Keeps the head's best state by one validation figure, and stops a run that no longer improves.

    It looks at every validation, also the one before training: what does not improve on the closed form never
    replaces it. Its state is part of a checkpoint, so a resumed run remembers.

    Args:
        select_by: name of a logged figure; of a loss the least is best, of anything else the greatest.
        patience: stop after this many validations without a new best; `None` never stops.
    """

    def __init__(self, select_by: str, patience: int | None = None) -> None:
        self.select_by = select_by
        self.patience = patience
        self.best_figures: dict[str, float] = {}
        self.best_epoch = -1  # -1: before training
        self.best_state: dict[str, Tensor] = {}

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare this validation's figure with the best so far."""
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        figures = {name: value for name, value in figures.items() if value == value}  # NaN: undefined, or gone astray
        if self._is_better(figures.get(self.select_by)):
            self.best_figures = figures
            self.best_epoch = trainer.current_epoch if trainer.state.fn == "fit" else -1
            head: torch.nn.Module = pl_module.head  # type: ignore[assignment]
            self.best_state = {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}
        elif trainer.state.fn == "fit":
            self._stop_if_patience_is_out(trainer, trainer.current_epoch)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A resumed run may have been stopped already."""
        self._stop_if_patience_is_out(trainer, trainer.current_epoch - 1)

    def _stop_if_patience_is_out(self, trainer: Trainer, epoch: int) -> None:
        if self.patience is not None and epoch - self.best_epoch >= self.patience:
            trainer.should_stop = True

    def restore(self, head: torch.nn.Module) -> None:
        """Put the best state into the head."""
        head.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: numbers and tensors only."""
        names = ("best_figures", "best_epoch", "best_state")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def _is_better(self, figure: float | None) -> bool:
        if not self.best_state:  # the starting point, whatever it is worth
            return True
        best = self.best_figures.get(self.select_by)
        if figure is None or best is None:
            return figure is not None
        return figure < best if self.select_by.endswith("loss") else figure > best
