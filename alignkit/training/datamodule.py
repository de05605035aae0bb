"""The pairs of a run, as Lightning wants them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch import LightningDataModule

from alignkit.pairs.base import Pairs, PairSplits
from alignkit.training.batches import BLOCK_ROWS, PairBatches, RowOrder

# train and validation pairs up to this total size as float32 are held in main memory; larger ones are streamed from
# their files
IN_MEMORY_BYTES = 768 * 1024 * 1024
VALIDATION_BATCH = 256
# share of the smallest GPU's total memory, not of its free memory: where rows are kept determines their order, which
# must be the same in every process and after a resume
GPU_FRACTION = 0.4


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
        return self._batches(self.splits.validation, self._validation_batch_size(processes), shuffle=False)

    def count_batches(self, processes: int) -> tuple[int, int]:
        """Batches per process: of one training epoch, and of one validation."""
        sizes = self.batch_size, self._validation_batch_size(processes)
        counts = len(self.splits.train), len(self.splits.validation)
        train, validation = (-(-count // (processes * size)) for count, size in zip(counts, sizes, strict=True))
        return train, validation

    def _validation_batch_size(self, processes: int) -> int:
        # all processes together use the batch of a single one, so a loss that compares within a batch is the same
        return max(self.batch_size, -(-VALIDATION_BATCH // processes))

    def _batches(self, pairs: Pairs, batch_size: int, shuffle: bool) -> PairBatches:
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        in_memory = fits((self.splits.train, self.splits.validation), device)
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


def fits(parts: Sequence[Pairs], device: torch.device) -> bool:
    """Whether all pairs of all parts can be kept on the device as float32."""
    needed = sum(4 * len(pairs) * (pairs.student_dim + pairs.teacher_dim) for pairs in parts)
    if device.type == "cuda":
        gpus = range(torch.cuda.device_count())
        return needed <= GPU_FRACTION * min(torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus)
    return needed <= IN_MEMORY_BYTES
