"""Batches of texts of like length with the teacher's vectors, read as they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from alignkit.distillation.tokens import Tokens
from alignkit.pairs.base import Pairs
from alignkit.training.batches import PairBatch, gathered
from alignkit.training.row_order import RowOrder
from alignkit.vectors import unit_in_place

# so many batches are sorted by length together: far less padding, and yet the neighbours change with every epoch
BATCHES_TOGETHER = 32


class TextBatches:
    """An iterable of `PairBatch` whose students are tokens; Lightning takes it as a data loader.

    Args:
        pairs: whose texts these are, and their teacher vectors.
        tokens: of the same texts.
        batch_size: texts a batch; the last one may be smaller.
        order: of the rows; asked each time an iteration starts, when the processes know each other.
        epoch: likewise.
        device: likewise; where batches are placed.
    """

    def __init__(
        self,
        pairs: Pairs,
        tokens: Tokens,
        batch_size: int,
        *,
        order: Callable[[], RowOrder],
        epoch: Callable[[], int],
        device: Callable[[], torch.device],
    ) -> None:
        self.pairs, self.tokens, self.batch_size = pairs, tokens, batch_size
        self.order, self.epoch, self.device = order, epoch, device

    def __len__(self) -> int:
        return -(-len(self.order()) // self.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        order, epoch = self.order(), self.epoch()
        generator = np.random.default_rng([order.seed, epoch, 1])
        window, waiting = self.batch_size * BATCHES_TOGETHER, np.empty(0, dtype=np.int64)
        for run in order.runs(epoch):
            waiting = np.concatenate([waiting, run])
            whole = len(waiting) - len(waiting) % window
            for start in range(0, whole, window):
                yield from self._like_lengths(order, waiting[start : start + window], generator)
            waiting = waiting[whole:]
        yield from self._like_lengths(order, waiting, generator)

    def _like_lengths(self, order: RowOrder, run: np.ndarray, generator: np.random.Generator) -> Iterator[PairBatch]:
        """Batches of one window; the longest first, where nothing shuffles them."""
        rows, _ = order.without_padding(run)
        ordered = run[np.argsort(-self.tokens.lengths_of(rows), kind="stable")]
        parts = [ordered[start : start + self.batch_size] for start in range(0, len(ordered), self.batch_size)]
        for number in generator.permutation(len(parts)) if order.shuffle else range(len(parts)):
            yield self._batch(*order.without_padding(parts[number]))

    def _batch(self, rows: np.ndarray, real: np.ndarray | None) -> PairBatch:
        device = self.device()
        teacher = unit_in_place(gathered(self.pairs.teacher, rows).to(device))
        student = self.tokens.batch(rows, device)
        known = None if real is None else torch.from_numpy(real).long().to(device)
        return PairBatch(torch.from_numpy(rows).to(device), student, teacher, None, known)  # type: ignore[arg-type]
