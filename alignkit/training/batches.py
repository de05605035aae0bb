"""Pairs as batches: slices of whole tensors if they fit, otherwise blocks of the memory map."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.heads.streaming import Batches, weights_of
from alignkit.heads.sums import summed
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs
from alignkit.pairs.placed_rows import lies_on, rows_on
from alignkit.pairs.views import own_and_extra

# contiguous rows of a memory map per read, and how many such reads are shuffled together
BLOCK_ROWS, BLOCKS_TOGETHER = 1024, 4
# rows converted to float32 at once
CHUNK_ROWS = 1024
# rows that a closed form takes at once on a CPU
SOLVER_ROWS = 2048
# limits of a sample of the teacher's vectors
SAMPLED_ROWS, SAMPLED_ELEMENTS = 4_000, 4_000_000


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


class SolverBatches:
    """Pairs in order, in large chunks, for a closed form; can be iterated again.

    Args:
        parts: one or more sets of pairs, as if joined.
        device: where chunks are placed.
        chunk_rows: rows per chunk; `None` takes 2,048, and eight times as many on a GPU, which small ones leave idle.
        share: k of n: only the k-th (from 0) of n even shares of the rows, which lie one after another.
    """

    def __init__(
        self, *parts: Pairs, device: torch.device, chunk_rows: int | None = None, share: tuple[int, int] = (0, 1)
    ) -> None:
        self.parts, self.device = parts, device
        self.chunk_rows = chunk_rows or SOLVER_ROWS * (1 if device.type == "cpu" else 8)
        whole, (mine, shares) = sum(map(len, parts)), share
        self._first, self._end = whole * mine // shares, whole * (mine + 1) // shares
        weights = _weights(parts)
        self.weights = None if weights is None else weights[self._first : self._end]

    def __len__(self) -> int:
        return self._end - self._first

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        before = 0
        for pairs in self.parts:
            first, end = max(0, self._first - before), min(len(pairs), self._end - before)
            before += len(pairs)
            for start in range(first, end, self.chunk_rows):
                rows = slice(start, min(start + self.chunk_rows, end))
                teacher = unit_in_place(rows_on(pairs.teacher, rows, self.device))
                yield rows_on(pairs.student, rows, self.device), teacher


def teacher_mean(batches: SolverBatches) -> Tensor:
    """Mean of the normalised teacher vectors, `(teacher_dim,)` float32 on the CPU; one pass."""
    sums = summed(batches, _TeacherSum.of)
    return (sums.vectors / sums.count).float().cpu()


@dataclass(frozen=True)
class _TeacherSum:
    vectors: Tensor
    count: Tensor

    @classmethod
    def of(cls, batches: Batches) -> _TeacherSum:
        weights, seen = weights_of(batches), 0
        total = torch.zeros((), dtype=torch.float64)
        for _, teacher in batches:
            if weights is None:
                total = total + teacher.sum(dim=0, dtype=torch.float64)
            else:
                total = total + weights[seen : seen + len(teacher)].to(teacher).double() @ teacher.double()
            seen += len(teacher)
        return cls(total, total.new_tensor(seen if weights is None else float(weights.sum())))

    def all_reduce(self) -> _TeacherSum:
        import torch.distributed as dist

        for part in (self.vectors, self.count):
            dist.all_reduce(part)
        return self


def _weights(parts: Sequence[Pairs]) -> Tensor | None:
    """Of all parts; pairs without any count once."""
    if all(pairs.weights is None for pairs in parts):
        return None
    known = [np.ones(len(pairs)) if pairs.weights is None else pairs.weights for pairs in parts]
    return torch.from_numpy(np.concatenate(known))


def sample_of_teacher(pairs: Pairs, seed: int = 0) -> Tensor:
    """A seeded sample of the own pairs' teacher vectors, rows of length 1: at most 4,000, fewer for wide ones."""
    pairs = own_and_extra(pairs)[0]
    rows = sample_rows(len(pairs), max(1, min(SAMPLED_ROWS, SAMPLED_ELEMENTS // pairs.teacher_dim)), seed)
    return unit_in_place(rows_on(pairs.teacher, rows, torch.device("cpu")))


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


def unit_in_place(vectors: Tensor) -> Tensor:
    """As `l2_normalize`, without a second copy."""
    return F.normalize(vectors, dim=-1, out=vectors)


def _cut(batch: PairBatch, start: int, end: int) -> PairBatch:
    rows, student, teacher = (part[start:end].clone() for part in batch[:3])
    negatives, real = (None if part is None else part[start:end].clone() for part in batch[3:])
    return PairBatch(rows, student, teacher, negatives, real)
