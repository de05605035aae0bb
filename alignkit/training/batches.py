"""Pairs as batches: slices of whole tensors where they fit, blocks of the memory map where they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from alignkit.pairs.base import Pairs
from alignkit.vectors import l2_normalize

# contiguous rows of a memory map that are read at once, and how many such reads are shuffled together
BLOCK_ROWS, BLOCKS_TOGETHER = 1024, 4


class PairBatch(NamedTuple):
    """What the training module gets.

    Attributes:
        rows: `(B,)` int64, positions in the split.
        student: `(B, student_dim)` float32.
        teacher: `(B, teacher_dim)` float32, L2-normalised.
        negatives: `(B, K, teacher_dim)` float32, L2-normalised; a sentence with fewer than K has zero rows.
    """

    rows: Tensor
    student: Tensor
    teacher: Tensor
    negatives: Tensor | None = None


class RowOrder:
    """The order of rows in one epoch and process: a function of seed, epoch and rank alone, so a run can be resumed.

    Args:
        count: rows in all.
        shuffle: a new seeded order each epoch.
        seed: of the order.
        rank: of this process.
        world_size: processes; rows are dealt out evenly, the first ones twice where they do not divide.
        block: rows that stay together while blocks are shuffled; 1 shuffles rows.
    """

    def __init__(
        self, count: int, *, shuffle: bool, seed: int = 0, rank: int = 0, world_size: int = 1, block: int = 1
    ) -> None:
        self.count, self.shuffle, self.seed = count, shuffle, seed
        self.rank, self.world_size, self.block = rank, world_size, block

    def __len__(self) -> int:
        return -(-self.count // self.world_size)

    def runs(self, epoch: int) -> Iterator[np.ndarray]:
        """Yield runs of row numbers, together one epoch of this process."""
        generator = np.random.default_rng([self.seed, epoch])
        if self.block == 1:
            order = generator.permutation(self.count) if self.shuffle else np.arange(self.count)
            yield np.resize(order, len(self) * self.world_size)[self.rank :: self.world_size]
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
            # dealing goes on where the last group ended, so that no process falls behind by more than one row
            yield rows[(self.rank - dealt) % self.world_size :: self.world_size]
            dealt += len(rows)
        if self.rank >= dealt % self.world_size > 0:  # it must still take part in every step
            yield np.arange(1)


class PairBatches:
    """An iterable of `PairBatch` that Lightning takes as a data loader.

    Args:
        pairs: what to iterate over.
        batch_size: pairs a batch; the last one may be smaller.
        order: of the rows.
        epoch: asked each time an iteration starts.
        device: where batches are to be.
        in_memory: keep all vectors on the device as float32; otherwise each block is read when its turn comes.
        with_negatives: hand on the hard negatives' vectors too.
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
        self._student = _to_device(pairs.student, device) if in_memory else None
        self._teacher = l2_normalize(_to_device(pairs.teacher, device)) if in_memory else None

    def __len__(self) -> int:
        return -(-len(self.order) // self.batch_size)

    def __iter__(self) -> Iterator[PairBatch]:
        rest: PairBatch | None = None
        for run in self.order.runs(self.epoch()):
            if self._student is not None:
                order = torch.as_tensor(run).to(self.device)
                for rows in torch.split(order, self.batch_size):
                    yield self._gather(rows)
                continue
            # a batch may reach over the end of a run of blocks
            whole = _join(rest, self._read(run))
            end = len(whole.rows) - len(whole.rows) % self.batch_size
            for start in range(0, end, self.batch_size):
                yield _cut(whole, start, start + self.batch_size)
            rest = _cut(whole, end, len(whole.rows)) if end < len(whole.rows) else None
        if rest is not None:
            yield rest

    def _gather(self, rows: Tensor) -> PairBatch:
        negatives = None
        if self.negatives is not None:
            at = torch.as_tensor(self.negatives[rows.cpu().numpy()]).to(self.device)
            negatives = torch.where((at >= 0).unsqueeze(-1), self._teacher[at.clamp_min(0)], 0.0)  # type: ignore[index]
        return PairBatch(rows, self._student[rows], self._teacher[rows], negatives)  # type: ignore[index]

    def _read(self, rows: np.ndarray) -> PairBatch:
        # ascending rows read the file forwards; the order asked for is restored in memory
        ascending = np.argsort(rows, kind="stable")
        back = np.argsort(ascending, kind="stable")
        student = _to_device(self.pairs.student[rows[ascending]][back], self.device)
        teacher = l2_normalize(_to_device(self.pairs.teacher[rows[ascending]][back], self.device))
        negatives = None
        if self.negatives is not None:
            at = self.negatives[rows]
            vectors = self.pairs.teacher[np.maximum(at, 0)].astype(np.float32) * (at >= 0)[..., None]
            negatives = l2_normalize(torch.from_numpy(vectors).to(self.device))
        return PairBatch(torch.as_tensor(rows).to(self.device), student, teacher, negatives)


class SolverBatches:
    """Pairs in order, in large chunks, for a closed form; can be iterated again.

    Args:
        parts: one or more sets of pairs, as if joined.
        device: where chunks are to be.
        chunk_rows: rows a chunk.
    """

    def __init__(self, *parts: Pairs, device: torch.device, chunk_rows: int = 2048) -> None:
        self.parts, self.device, self.chunk_rows = parts, device, chunk_rows

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for pairs in self.parts:
            for start in range(0, len(pairs), self.chunk_rows):
                rows = slice(start, start + self.chunk_rows)
                teacher = l2_normalize(_to_device(pairs.teacher[rows], self.device))
                yield _to_device(pairs.student[rows], self.device), teacher


def teacher_mean(pairs: Pairs) -> Tensor:
    """Mean of the normalised teacher vectors, `(teacher_dim,)` float32 on the CPU."""
    total = torch.zeros(pairs.teacher_dim, dtype=torch.float64)
    for _, teacher in SolverBatches(pairs, device=torch.device("cpu")):
        total += teacher.sum(dim=0, dtype=torch.float64)
    return (total / len(pairs)).float()


def _to_device(vectors: np.ndarray, device: torch.device) -> Tensor:
    # a copy also where it is float32 already: torch must not write to, or warn about, a read-only map
    return torch.from_numpy(np.array(vectors, dtype=np.float32)).to(device)


def _join(first: PairBatch | None, second: PairBatch) -> PairBatch:
    if first is None:
        return second
    negatives = None
    if first.negatives is not None and second.negatives is not None:
        negatives = torch.cat([first.negatives, second.negatives])
    rows, student, teacher = (torch.cat(parts) for parts in zip(first[:3], second[:3], strict=True))
    return PairBatch(rows, student, teacher, negatives)


def _cut(batch: PairBatch, start: int, end: int) -> PairBatch:
    negatives = None if batch.negatives is None else batch.negatives[start:end]
    return PairBatch(batch.rows[start:end], batch.student[start:end], batch.teacher[start:end], negatives)
