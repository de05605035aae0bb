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


class TensorBatches:
    """`Batches` over tensors that are in memory already.

    Args:
        student: `(N, student_dim)`.
        teacher: `(N, teacher_dim)`, L2-normalised.
        batch_size: rows a batch, at least 1.
    """

    def __init__(self, student: Tensor, teacher: Tensor, batch_size: int = 8192) -> None:
        self.student, self.teacher, self.batch_size = student, teacher, batch_size

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

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        seen = 0
        for student, teacher in self.batches:
            at = torch.arange(seen, seen + len(student), device=student.device)
            rows = (at % self.every == self.every - 1) == self.held_out
            seen += len(student)
            yield student[rows], teacher[rows]

    def __len__(self) -> int:
        held_out = len(self.batches) // self.every
        return held_out if self.held_out else len(self.batches) - held_out


class EvenSample:
    """Keeps some pairs of a stream while something else reads it, so that the sample costs no pass of its own.

    Args:
        count: pairs in the stream, which may be sorted: the sample is evenly spread over it.
        most: pairs to keep at most.
    """

    def __init__(self, count: int, most: int) -> None:
        self.stride = max(1, -(-count // most))
        self._seen = 0
        self._students: list[Tensor] = []
        self._teachers: list[Tensor] = []

    def watch(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches as they come and keep every `stride`-th row."""
        for student, teacher in batches:
            rows = slice(-self._seen % self.stride, None, self.stride)
            self._students.append(student[rows].clone())  # a view would keep the whole batch
            self._teachers.append(teacher[rows].clone())
            self._seen += len(student)
            yield student, teacher

    def pairs(self) -> tuple[Tensor, Tensor]:
        """`(S, student_dim)` and `(S, teacher_dim)`, what was kept of all that was read so far."""
        return torch.cat(self._students), torch.cat(self._teachers)


def sample_pairs(batches: Batches, most: int) -> tuple[Tensor, Tensor]:
    """At most `most` pairs as two tensors, evenly spread over the stream; takes one pass."""
    sample = EvenSample(len(batches), most)
    for _ in sample.watch(batches):
        pass
    return sample.pairs()
