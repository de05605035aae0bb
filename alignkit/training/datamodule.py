"""The pairs of a run, as Lightning wants them."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningDataModule

from alignkit.pairs.base import Pairs, PairSplits
from alignkit.training.batches import PairBatches
from alignkit.training.capacity import fits, validation_batch
from alignkit.training.row_order import BLOCK_ROWS, RowOrder


class PairDataModule(LightningDataModule):
    """Batches of the train and validation pairs, on the training device when they fit there.

    Args:
        splits: the pairs.
        batch_size: pairs a training batch, at least 1.
        seed: of the order of the rows.
        with_negatives: pass the hard negatives to the loss.
    """

    def __init__(self, splits: PairSplits, batch_size: int = 64, seed: int = 0, with_negatives: bool = False) -> None:
        super().__init__()
        self.splits = splits
        self.batch_size = batch_size
        self.seed = seed
        self.with_negatives = with_negatives

    def train_dataloader(self) -> PairBatches:
        """Batches in a new order each epoch."""
        return self._batches(self.splits.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> PairBatches:
        """In order, in batches at least as large as training's."""
        processes = self.trainer.world_size if self.trainer else 1
        return self._batches(self.splits.validation, validation_batch(self.batch_size, processes), shuffle=False)

    def _batches(self, pairs: Pairs, batch_size: int, shuffle: bool) -> PairBatches:
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        in_memory = fits((self.splits.train, self.splits.validation), device)
        if self.trainer:  # it decides the order of the rows, which must be the same in all processes
            in_memory = self.trainer.strategy.reduce_boolean_decision(in_memory)
        order = RowOrder(
            len(pairs),
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            block=1 if in_memory else BLOCK_ROWS,
            weights=pairs.weights,
        )
        return PairBatches(
            pairs,
            batch_size,
            order,
            epoch=lambda: self.trainer.current_epoch if self.trainer else 0,
            device=device,
            in_memory=in_memory,
            with_negatives=self.with_negatives,
        )
