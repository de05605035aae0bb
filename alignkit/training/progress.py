"""A progress bar on stderr, where somebody is there to see it."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class EpochProgress(Callback):
    """One bar over all epochs; silent where stderr is no terminal, and on all processes but the first."""

    def __init__(self, select_by: str) -> None:
        self.select_by = select_by
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Open the bar."""
        console = Console(stderr=True)
        if not trainer.is_global_zero or not console.is_terminal:
            return
        columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("epochs"),
                   TextColumn("{task.fields[figure]}"), TimeRemainingColumn())  # fmt: skip
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=trainer.max_epochs, completed=trainer.current_epoch, figure="")
        self._progress.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """One epoch further."""
        if self._progress is not None and self._task is not None:
            figure = trainer.callback_metrics.get(self.select_by)
            text = "" if figure is None else f"{self.select_by} {float(figure):.4f}"
            self._progress.update(self._task, advance=1, figure=text)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the bar."""
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        """Close the bar."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
