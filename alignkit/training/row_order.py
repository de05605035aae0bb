"""The order of rows in an epoch and a process: a function of seed, epoch and rank alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# contiguous rows of a memory map per read, and how many such reads are shuffled together
BLOCK_ROWS, BLOCKS_TOGETHER = 1024, 4


class RowOrder:
    """The order of rows in one epoch and process: a function of seed, epoch and rank only, so a run can be resumed.

    Args:
        count: rows in all.
        shuffle: a new seeded order each epoch.
        seed: of the order.
        rank: of this process.
        world_size: processes; all get as many rows, some of them padding if they do not divide evenly.
        block: rows that stay together while blocks are shuffled; 1 shuffles rows.
        weights: `(count,)`; a shuffled epoch then has as many rows, each as often as its weight asks for. Only for
            rows that are shuffled one by one.
    """

    def __init__(
        self, count: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1, block: int = 1,
        weights: np.ndarray | None = None,
    ) -> None:  # fmt: skip
        self.count, self.shuffle, self.seed = count, shuffle, seed
        self.rank, self.world_size, self.block = rank, world_size, block
        self.weights = weights if shuffle else None

    def __len__(self) -> int:
        return -(-self.count // self.world_size)

    def without_padding(self, rows: Any) -> tuple[Any, Any | None]:
        """Row numbers of a run, and which are no padding: `None` where no process has any.

        Args:
            rows: `(B,)` int64, an array or a tensor.
        """
        if self.count % self.world_size == 0:
            return rows, None
        return abs(rows + (rows < 0)), rows >= 0

    def runs(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield runs of row numbers, together one epoch of this process; row r as padding is -r - 1."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.block == 1:
            rows = np.arange(self.count) if self.weights is None else _as_often(self.weights, generator.random())
            order = generator.permutation(rows) if self.shuffle else rows
            dealt_out = np.resize(order, len(self) * self.world_size)
            dealt_out[self.count :] = -dealt_out[self.count :] - 1
            yield dealt_out[self.rank :: self.world_size]
            return
        starts = np.arange(0, self.count, self.block)
        if self.shuffle:
            starts = generator.permutation(starts)
        dealt = 0
        for group in range(0, len(starts), BLOCKS_TOGETHER):
            parts = [np.arange(s, min(s + self.block, self.count)) for s in starts[group:][:BLOCKS_TOGETHER]]
            rows = np.concatenate(parts)
            if self.shuffle:
                rows = generator.permutation(rows)
            # dealing continues where the last group ended, so that no process lags by more than one row
            yield rows[(self.rank - dealt) % self.world_size :: self.world_size]
            dealt += len(rows)
        if self.rank >= dealt % self.world_size > 0:  # it must still take part in every step
            yield np.array([-1])


def _as_often(weights: np.ndarray, start: float) -> np.ndarray:
    """`(N,)` ascending rows, each about as often as its share of the weights, by systematic resampling.

    >>> _as_often(np.array([2.0, 0.5, 0.5]), 0.25).tolist()
    [0, 0, 2]
    """
    reached = np.floor(np.cumsum(weights) / weights.sum() * len(weights) + start)
    reached[-1] = len(weights)
    return np.repeat(np.arange(len(weights)), np.diff(np.minimum(reached, len(weights)), prepend=0).astype(np.int64))
