"""Pairs that are streamed to a closed form, so that they may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from alignkit.vectors import l2_normalize

HELD_OUT_EVERY = 10


class Batches(Protocol):
    """Pairs as float32 tensors, a batch at a time; can be iterated any number of times, each time a pass over all."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield `(student (B, student_dim), teacher (B, teacher_dim))`, teacher rows L2-normalised."""
        ...

    def __len__(self) -> int:
        """Number of pairs (not of batches), known without a pass."""
        ...


def weights_of(batches: Batches) -> Tensor | None:
    """How much each pair counts, `(N,)` above 0 in the order of the pairs; `None` where all count the same."""
    return getattr(batches, "weights", None)


class TensorBatches:
    """`Batches` over tensors that are in memory already.

    Args:
        student: `(N, student_dim)`.
        teacher: `(N, teacher_dim)`, L2-normalised.
        batch_size: rows a batch, at least 1.
        weights: see `weights_of`.
    """

    def __init__(self, student: Tensor, teacher: Tensor, batch_size: int = 8192, weights: Tensor | None = None) -> None:
        self.student, self.teacher, self.batch_size, self.weights = student, teacher, batch_size, weights

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        sides = torch.split(self.student, self.batch_size), torch.split(self.teacher, self.batch_size)
        return zip(*sides, strict=True)

    def __len__(self) -> int:
        return len(self.student)


def unit_students(pairs: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """The same pairs as float32, students scaled to length 1."""
    return ((l2_normalize(student.float()), teacher.float()) for student, teacher in pairs)


def hold_out(batches: Batches) -> tuple[Batches, Batches]:
    """Split off every tenth pair, for a head that was given no validation pairs to choose by.

    Of fewer than twenty pairs, every other one is held out. A single pair cannot be split: it is on both sides.

    Returns:
        Training and held-out pairs; a pass over either is a pass over all.
    """
    if len(batches) < 2:
        return batches, batches
    every = HELD_OUT_EVERY if len(batches) >= 2 * HELD_OUT_EVERY else 2
    return _Rows(batches, every, held_out=False), _Rows(batches, every, held_out=True)


class _Rows:
    def __init__(self, batches: Batches, every: int, *, held_out: bool) -> None:
        self.batches, self.every, self.held_out = batches, every, held_out
        weights = weights_of(batches)
        self.weights = None if weights is None else weights[self._are_mine(torch.arange(len(weights)))]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        seen = 0
        for student, teacher in self.batches:
            rows = self._are_mine(torch.arange(seen, seen + len(student), device=student.device))
            seen += len(student)
            yield student[rows], teacher[rows]

    def __len__(self) -> int:
        held_out = len(self.batches) // self.every
        return held_out if self.held_out else len(self.batches) - held_out

    def _are_mine(self, at: Tensor) -> Tensor:
        return (at % self.every == self.every - 1) == self.held_out


class EvenSample:
    """Keeps some pairs of a stream while something else reads it, so that the sample costs no pass of its own.

    Args:
        count: pairs in the stream, which may be sorted: the sample is evenly spread over it.
        most: pairs to keep at most.
        weights: see `weights_of`; a pair that counts more is kept more often, and those that count most first of all.

    Attributes:
        weights: of the pairs that are kept; `None` where all count the same.
    """

    def __init__(self, count: int, most: int, weights: Tensor | None = None) -> None:
        self.stride = max(1, -(-count // most))
        self._kept, self.weights = None, weights
        if weights is not None and self.stride > 1:
            self._kept, counts = _drawn_by_weight(weights, most)
            self.weights = counts[self._kept]
        self._seen = 0
        self._students: list[Tensor] = []
        self._teachers: list[Tensor] = []

    def watch(self, batches: Batches) -> Batches:
        """The same batches; whoever reads them once fills the sample.

        Pairs that several processes share are read by nobody alone: their `take` gives the sample's rows at once.
        """
        take = getattr(batches, "take", None)
        if take is None:
            return _Watched(batches, self)
        rows = torch.arange(0, len(batches), self.stride) if self._kept is None else self._kept.nonzero().flatten()
        student, teacher = take(rows)
        self._students.append(student)
        self._teachers.append(teacher)
        return batches

    def keep(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches as they come and keep every `stride`-th row."""
        for student, teacher in batches:
            rows: slice | Tensor = slice(-self._seen % self.stride, None, self.stride)
            if self._kept is not None:
                rows = self._kept[self._seen : self._seen + len(student)].to(student.device)
            self._students.append(student[rows].clone())  # a view would keep the whole batch
            self._teachers.append(teacher[rows].clone())
            self._seen += len(student)
            yield student, teacher

    def pairs(self) -> tuple[Tensor, Tensor]:
        """`(S, student_dim)` and `(S, teacher_dim)`, what was kept of all that was read so far."""
        return torch.cat(self._students), torch.cat(self._teachers)


class _Watched:
    def __init__(self, batches: Batches, sample: EvenSample) -> None:
        self.batches, self.sample, self.weights = batches, sample, weights_of(batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.sample.keep(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _drawn_by_weight(weights: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Which rows are kept, `(N,)` bool, and how much each then counts `(N,)`, so that the kept stand for all.

    A row's chance is in proportion to its weight; those that would be kept more than once are kept for sure.
    """
    weights = weights.double().cpu()
    sure = torch.zeros(len(weights), dtype=torch.bool)
    while True:
        rest = weights.masked_fill(sure, 0.0)
        chance = rest * ((most - int(sure.sum())) / rest.sum().clamp_min(torch.finfo(torch.float64).tiny))
        if not (more := chance >= 1).any() or int(sure.sum() + more.sum()) > most:
            break
        sure |= more
    chance = chance.clamp_max(1.0)
    reached = chance.cumsum(0).add(0.5).floor()
    drawn = torch.diff(reached, prepend=reached.new_zeros(1)) > 0
    return sure | drawn, weights / torch.where(sure | (chance == 0), 1.0, chance)


def sample_pairs(batches: Batches, most: int) -> tuple[Tensor, Tensor]:
    """At most `most` pairs as two tensors, evenly spread over the stream; takes one pass."""
    sample = EvenSample(len(batches), most)
    if (watched := sample.watch(batches)) is not batches:
        for _ in watched:
            pass
    return sample.pairs()
