"""Shows the progress of training."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from alignkit.progress import Counted, progress


class EpochProgress(Callback):
    """Counts the epochs on stderr, in the first process only.

    Args:
        select_by: the figure to show.
        texts: of an epoch; where they are given, texts are counted: an epoch may take long.
    """

    def __init__(self, select_by: str, texts: int | None = None) -> None:
        self.select_by, self.texts = select_by, texts
        self._shown = ExitStack()
        self._counted: Counted | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        if trainer.is_global_zero:
            self._counted = self._shown.enter_context(progress("training", "texts" if self.texts else "epochs"))
            each = self.texts or 1
            self._counted.begin(each * (trainer.max_epochs or 0), each * trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """So many texts further."""
        if self._counted is not None and self.texts:
            self._counted.advance(len(batch.rows) * trainer.world_size)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One epoch further."""
        if self._counted is not None:
            figure = trainer.callback_metrics.get(self.select_by)
            self._counted.note = "" if figure is None else f"{self.select_by} {float(figure):.4f}"
            if not self.texts:
                self._counted.advance()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count no more."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        """Count no more."""
        self._stop()

    def _stop(self) -> None:
        self._shown.close()
        self._counted = None
