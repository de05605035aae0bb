"""Goes back to the last good state if the loss is not finite any more."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

logger = logging.getLogger(__name__)

# a GPU has to be waited for each time the loss is looked at; whatever follows a bad step is bad too
LOOK_EVERY = 16
LOWER = 0.3


class GoBack(Callback):
    """Restores the state of the last validation once, with a lower rate; the second time it ends training.

    Attributes:
        step: of the last loss that was not finite; `None` before.
        ended: why training ended, in words; `None` where it did not end here.
    """

    def __init__(self) -> None:
        self.step: int | None = None
        self.ended: str | None = None
        self._good: dict[str, Tensor] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The start is good."""
        self._keep(pl_module)
        if self.ended is not None:
            trainer.should_stop = True

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """What could be validated is good."""
        loss = trainer.callback_metrics.get("val/loss")
        if not trainer.sanity_checking and loss is not None and math.isfinite(float(loss)):
            self._keep(pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss, now and then and before each validation."""
        is_last = batch_idx + 1 >= trainer.num_training_batches
        if (batch_idx + 1) % LOOK_EVERY and not is_last and trainer.val_check_interval == 1.0:
            return
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if trainer.strategy.reduce_boolean_decision(bool(torch.isfinite(loss))):
            return
        self._restore(trainer, pl_module)

    def _keep(self, pl_module: LightningModule) -> None:
        self._good = {name: value.detach().cpu().clone() for name, value in pl_module.state_dict().items()}

    def _restore(self, trainer: Trainer, pl_module: LightningModule) -> None:
        again, self.step = self.step is not None, trainer.global_step
        pl_module.load_state_dict(self._good)
        for optimizer in trainer.optimizers:
            optimizer.state.clear()  # its averages are not finite either
            for group in optimizer.param_groups:
                for name in ("lr", "initial_lr", "max_lr", "min_lr"):
                    if name in group:
                        group[name] *= LOWER
        what = f"the loss was not finite at step {self.step}"
        if again:
            self.ended = f"{what}, again after a lower rate"
            trainer.should_stop = True
        logger.warning(
            "%s; the last good state is back, %s",
            what,
            "and training ends: take a smaller lr" if again else f"and training goes on at {LOWER:g} of the rate",
        )

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"step": self.step, "ended": self.ended}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """From the checkpoint."""
        self.step, self.ended = state_dict["step"], state_dict["ended"]
