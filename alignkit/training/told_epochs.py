"""Tells each validation's figures to who listens, and ends the run if nothing more is wanted of it."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

from alignkit.training.best import KeepBest
from alignkit.training.listening import NotPromisingError, tell


class TellEpochs(Callback):
    """One run's; what it leaves can be resumed like any interrupted run.

    Args:
        best: counts the passes; it stands before this one among the callbacks.
    """

    def __init__(self, best: KeepBest) -> None:
        self.best = best

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell the figures; of several processes the first one does, and all of them hear the answer.

        Raises:
            NotPromisingError: if nothing more is wanted.
        """
        if trainer.sanity_checking:
            return
        passes, goes_on = self.best.passes, True
        if trainer.is_global_zero:
            figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name[:4] == "val/"}
            goes_on = tell(passes, {name: value for name, value in figures.items() if abs(value) < float("inf")})
        if not trainer.strategy.broadcast(goes_on):
            raise NotPromisingError(f"not promising after epoch {passes:.3g}")
