"""Pairs as a closed form reads them: in order, in large chunks, with their weights; and what is summed up of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignkit.heads.streaming import Batches, weights_of
from alignkit.heads.sums import summed
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs
from alignkit.pairs.placed_rows import rows_on
from alignkit.pairs.views import own_and_extra
from alignkit.vectors import unit_in_place

# rows that a closed form takes at once on a CPU
SOLVER_ROWS = 2048
# limits of a sample of the teacher's vectors
SAMPLED_ROWS, SAMPLED_ELEMENTS = 4_000, 4_000_000


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
