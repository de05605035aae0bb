"""Pairs as batches: slices of whole tensors if they fit, otherwise blocks of the memory map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from alignkit.pairs.base import Pairs
from alignkit.pairs.placed_rows import lies_on, rows_on
from alignkit.training.row_order import RowOrder
from alignkit.vectors import unit_in_place

# rows converted to float32 at once
CHUNK_ROWS = 1024


class PairBatch(NamedTuple):
    """One batch for the training module.

    Attributes:
        rows: `(B,)` int64, positions in the split.
        student: `(B, student_dim)` float32.
        teacher: `(B, teacher_dim)` float32, L2-normalised.
        negatives: `(B, K, teacher_dim)` float32, L2-normalised; a sentence with fewer than K has zero rows.
        real: `(B,)` int64, 0 for a row that only lets this process take part in a step; `None` if there is none in
            any process.
    """

    rows: Tensor
    student: Tensor
    teacher: Tensor
    negatives: Tensor | None = None
    real: Tensor | None = None


class PairBatches:
    """An iterable of `PairBatch` that Lightning takes as a data loader.

    Args:
        pairs: what to iterate over.
        batch_size: pairs a batch; the last one may be smaller.
        order: of the rows.
        epoch: asked each time an iteration starts.
        device: where batches are placed.
        in_memory: keep all vectors on the device, as float32 or, where they were placed there, as they are stored;
            otherwise each block is read when its turn comes.
        with_negatives: include the hard negatives' vectors.
    """

    def __init__(
        self,
        pairs: Pairs,
        batch_size: int,
        order: RowOrder,
        *,
        epoch: Callable[[], int],
        device: torch.device,
        in_memory: bool,
        with_negatives: bool = False,
    ) -> None:
        self.pairs, self.batch_size, self.device = pairs, batch_size, device
        self.order, self.epoch = order, epoch
        self.negatives = pairs.negatives if with_negatives else None
        self.in_memory = in_memory
        whole = in_memory and not (lies_on(pairs.student, device) and lies_on(pairs.teacher, device))
        self._student = _whole(pairs.student, device) if whole else None
        self._teacher = _whole(pairs.teacher, device, unit=True) if whole else None

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        waiting = np.empty(0, dtype=np.int64)
        for run in self.order.runs(self.epoch()):
            if self.in_memory:
                order = torch.as_tensor(run).to(self.device)
                for rows in torch.split(order, self.batch_size):
                    yield self._gather(rows)
                continue
            # a batch may span two runs of blocks
            waiting = np.concatenate([waiting, run])
            end = len(waiting) - len(waiting) % self.batch_size
            yield from self._streamed(waiting[:end])
            waiting = waiting[end:]
        yield from self._streamed(waiting)

    def _streamed(self, rows: np.ndarray) -> Iterator[PairBatch]:
        if not len(rows):
            return
        whole = self._read(rows)
        for start in range(0, len(rows), self.batch_size):
            # a copy: a view held by the consumer would keep all of these rows in memory while the next ones are read
            yield _cut(whole, start, start + self.batch_size)

    def _gather(self, rows: Tensor) -> PairBatch:
        rows, real = self.order.without_padding(rows)
        negatives = None
        if self.negatives is not None:
            at = torch.as_tensor(self.negatives[rows.cpu().numpy()]).to(self.device)
            vectors = self._teachers(at.clamp_min(0).flatten()).unflatten(0, at.shape)
            negatives = torch.where((at >= 0).unsqueeze(-1), vectors, 0.0)
        student = rows_on(self.pairs.student, rows, self.device) if self._student is None else self._student[rows]
        return PairBatch(rows, student, self._teachers(rows), negatives, None if real is None else real.long())

    def _teachers(self, rows: Tensor) -> Tensor:
        if self._teacher is not None:
            return self._teacher[rows]
        return unit_in_place(rows_on(self.pairs.teacher, rows, self.device))

    def _read(self, rows: np.ndarray) -> PairBatch:
        rows, real = self.order.without_padding(rows)
        student = gathered(self.pairs.student, rows).to(self.device)
        teacher = unit_in_place(gathered(self.pairs.teacher, rows).to(self.device))
        negatives = None
        if self.negatives is not None:
            at = self.negatives[rows]
            vectors = gathered(self.pairs.teacher, np.maximum(at, 0).reshape(-1)).reshape(*at.shape, -1)
            vectors[torch.from_numpy(at < 0)] = 0
            negatives = unit_in_place(vectors.to(self.device))
        known = None if real is None else torch.as_tensor(real).long().to(self.device)
        return PairBatch(torch.as_tensor(rows).to(self.device), student, teacher, negatives, known)


def _whole(vectors: np.ndarray, device: torch.device, unit: bool = False) -> Tensor:
    """All rows on the device, filled in chunk by chunk, so that there is never a second full copy."""
    filled = torch.empty(vectors.shape, device=device)
    for start in range(0, len(vectors), CHUNK_ROWS):
        chunk = rows_on(vectors, slice(start, start + CHUNK_ROWS), device)
        filled[start : start + CHUNK_ROWS] = unit_in_place(chunk) if unit else chunk
    return filled


def gathered(vectors: np.ndarray, rows: np.ndarray) -> Tensor:
    """Rows of a map in the requested order; the file is read forwards, a chunk at a time."""
    filled = np.empty((len(rows), vectors.shape[1]), dtype=np.float32)
    ascending = np.argsort(rows, kind="stable")
    for places in np.split(ascending, range(CHUNK_ROWS, len(rows), CHUNK_ROWS)):
        filled[places] = vectors[rows[places]]
    return torch.from_numpy(filled)


def _cut(batch: PairBatch, start: int, end: int) -> PairBatch:
    rows, student, teacher = (part[start:end].clone() for part in batch[:3])
    negatives, real = (None if part is None else part[start:end].clone() for part in batch[3:])
    return PairBatch(rows, student, teacher, negatives, real)
