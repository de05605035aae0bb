"""Keeps what lies free in the heap from adding up while a transformer is trained."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from alignkit.training.memory import return_free_memory

# a call takes some 3 ms, a step of a transformer half a second
BATCHES_BETWEEN = 50


class ReturnedMemory(Callback):
    """Gives the system what lies free in the heap, every so many batches.

    Batches of texts differ in length, and so do the arrays that a step leaves: the heap of a transformer's training
    grew from 2.5 to 5.7 GB in ten minutes. Returning each array as it is freed, as `return_large_blocks` does, would
    cost every step more than it saves.
    """

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Return it, now and then."""
        if batch_idx % BATCHES_BETWEEN == BATCHES_BETWEEN - 1:
            return_free_memory()
