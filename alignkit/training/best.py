"""Keeps the best state of the head, which may be its starting point."""

from __future__ import annotations

import logging
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from alignkit.errors import AlignkitError

logger = logging.getLogger(__name__)

# tolerance in epochs: passes are quotients
ROUNDING = 1e-9


class KeepBest(Callback):
    """Keeps the head's best state by one validation figure, and stops a run that no longer improves.

    It uses every validation, including the one before training, so a state replaces the closed form only if it is
    better. Its state is saved in checkpoints, so a resumed run remembers it. Passes count epochs and their fractions.

    Args:
        select_by: name of a logged figure; of a loss the least is best, of anything else the greatest.
        patience: stop after this many epochs without a new best; `None` never stops.

    Attributes:
        batches: trained on so far.
        validated: how many of them came before the last validation.
        passes: over the training pairs, so far.
        best_passes: after which the best state was; 0 is the starting point.
        first_figures: of the starting point.
        passes_here: those of this process, which a resumed run has fewer of.
        ended: why training ended before its epochs were over, in words; `None` where it did not.
    """

    def __init__(self, select_by: str, patience: int | None = None) -> None:
        self.select_by = select_by
        self.patience = patience
        self.batches = self.validated = 0
        self.passes = self.best_passes = self.passes_here = 0.0
        self.best_figures: dict[str, float] = {}
        self.first_figures: dict[str, float] = {}
        self.best_state: dict[str, Tensor] = {}
        self.ended: str | None = None

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *given: Any, **named: Any) -> None:
        """Count the batch."""
        self.batches += 1
        self.passes_here += 1 / trainer.num_training_batches
        self.passes = self.batches / trainer.num_training_batches

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare this validation's figure with the best so far."""
        if trainer.sanity_checking:  # a few batches, before anything
            return
        self.validated = self.batches
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        figures = {name: value for name, value in figures.items() if abs(value) < float("inf")}  # NaN: undefined
        # another chip rounds otherwise: one process would stop and the others wait for it
        figures = trainer.strategy.broadcast(figures)
        if not self.batches:
            self.first_figures = figures
        if "val/loss" in self.best_figures and "val/loss" not in figures:
            self._end_astray(trainer)
        elif self._is_better(figures.get(self.select_by)):
            self.best_figures, self.best_passes = figures, self.passes
            head: torch.nn.Module = pl_module.head  # type: ignore[assignment]
            self.best_state = {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}
        else:
            self._stop_if_patience_is_out(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if a resumed run had already been stopped."""
        self._stop_if_patience_is_out(trainer)

    def _stop_if_patience_is_out(self, trainer: Trainer) -> None:
        if self.patience is not None and self.passes - self.best_passes >= self.patience - ROUNDING:
            self.ended = f"no better {self.select_by} in {self.patience} epochs"
            trainer.should_stop = True

    def _end_astray(self, trainer: Trainer) -> None:
        self.ended = "the loss on validation was not finite any more"
        trainer.should_stop = True
        logger.warning(
            "training went astray: after %.3g epochs the loss on validation is not finite; the best state before is "
            "kept. Take a smaller lr, trainer.gradient_clip_val=1.0, or trainer.precision=32-true",
            self.passes,
        )

    def note_end(self, trainer: Trainer) -> None:
        """Record in words why training ended."""
        if self.ended is None and self.passes < (trainer.max_epochs or 0):
            by_steps = 0 < trainer.max_steps <= trainer.global_step
            by_time = "trainer.max_time was over, which depends on the machine"
            self.ended = f"trainer.max_steps={trainer.max_steps}" if by_steps else by_time
        if self.select_by not in self.best_figures:
            self.ended = f"{self.select_by} was undefined at every validation, so nothing could be chosen by it"
            logger.warning("%s; the starting point is kept: take another select_by", self.ended)

    def restore(self, head: torch.nn.Module) -> None:
        """Put the best state into the head."""
        head.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint: numbers and tensors only."""
        names = ("batches", "validated", "passes", "best_passes", "best_figures", "first_figures", "best_state")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint.

        Raises:
            AlignkitError: if an older version wrote it.
        """
        if "batches" not in state_dict:
            raise AlignkitError("the checkpoint was written by an older alignkit; start that run again")
        for name, value in state_dict.items():
            setattr(self, name, value)

    def _is_better(self, figure: float | None) -> bool:
        if not self.best_state:  # the starting point, whatever it is worth
            return True
        best = self.best_figures.get(self.select_by)
        if figure is None or best is None:
            return figure is not None
        return figure < best if self.select_by.endswith("loss") else figure > best
