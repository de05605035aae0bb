"""Second moments of student and teacher vectors in one pass: all that a linear closed form needs to know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.errors import DataError


@dataclass(frozen=True)
class CenteredMoments:
    """Moments about the means, float64.

    Attributes:
        count: N, pairs seen.
        student_mean: `(student_dim,)`.
        teacher_mean: `(teacher_dim,)`.
        gram: `(student_dim, student_dim)`, sum over pairs of centred student ⊗ student.
        cross: `(student_dim, teacher_dim)`, sum of centred student ⊗ teacher.
        teacher_variation: sum of squares of the centred teacher, over pairs and dimensions.
    """

    count: int
    student_mean: Tensor
    teacher_mean: Tensor
    gram: Tensor
    cross: Tensor
    teacher_variation: float


class Moments:
    """Running sums about a shift, so that a large common mean costs no precision.

    Generative models' vectors share a mean far larger than their spread: plain float32 sums of products then lose the
    spread altogether. Here the first batch's mean is taken off first, products are float32, sums float64.
    Sums of several processes or shards add up: see `merge`.
    """

    def __init__(self, student_shift: Tensor, teacher_shift: Tensor) -> None:
        self.student_shift = student_shift.double()
        self.teacher_shift = teacher_shift.double()
        zeros = torch.zeros_like
        self.count = 0
        self.student_sum = zeros(self.student_shift)
        self.teacher_sum = zeros(self.teacher_shift)
        self.gram = self.student_sum.new_zeros(len(student_shift), len(student_shift))
        self.cross = self.student_sum.new_zeros(len(student_shift), len(teacher_shift))
        self.teacher_square = 0.0

    @classmethod
    def of(cls, batches: Iterable[tuple[Tensor, Tensor]]) -> Moments:
        """Sum up all batches; the shift is the first batch's mean.

        Raises:
            DataError: if there is no batch.
        """
        moments: Moments | None = None
        for student, teacher in batches:
            if moments is None:
                moments = cls(student.double().mean(dim=0), teacher.double().mean(dim=0))
            moments.add(student, teacher)
        if moments is None:
            raise DataError("no pairs to solve on; expected at least one batch")
        return moments

    def add(self, student: Tensor, teacher: Tensor) -> None:
        """Take in `(B, student_dim)` and `(B, teacher_dim)`."""
        # float64 before the subtraction: float32 would round an offset of thousands first
        student = (student.double() - self.student_shift).float()
        teacher = (teacher.double() - self.teacher_shift).float()
        self.count += len(student)
        self.student_sum += student.sum(dim=0, dtype=torch.float64)
        self.teacher_sum += teacher.sum(dim=0, dtype=torch.float64)
        self.gram += student.T @ student
        self.cross += student.T @ teacher
        self.teacher_square += float(teacher.square().sum(dtype=torch.float64))

    def merge(self, other: Moments) -> None:
        """Take in another process's sums; both must have been made with the same shifts.

        Raises:
            ValueError: if the shifts differ.
        """
        if not (
            torch.equal(self.student_shift, other.student_shift)
            and torch.equal(self.teacher_shift, other.teacher_shift)
        ):
            raise ValueError("moments with different shifts do not add up; share the first process's shifts")
        self.count += other.count
        self.student_sum += other.student_sum
        self.teacher_sum += other.teacher_sum
        self.gram += other.gram
        self.cross += other.cross
        self.teacher_square += other.teacher_square

    def centered(self) -> CenteredMoments:
        """The moments about the means of all that was seen."""
        student_mean, teacher_mean = self.student_sum / self.count, self.teacher_sum / self.count
        return CenteredMoments(
            count=self.count,
            student_mean=student_mean + self.student_shift,
            teacher_mean=teacher_mean + self.teacher_shift,
            gram=self.gram - torch.outer(self.student_sum, student_mean),
            cross=self.cross - torch.outer(self.student_sum, teacher_mean),
            teacher_variation=self.teacher_square - float(self.teacher_sum @ teacher_mean),
        )
