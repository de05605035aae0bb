"""Second moments of student and teacher vectors in one pass: all that a linear closed form needs of the pairs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.errors import DataError

# the Gram matrix is symmetric, so blocks above the diagonal are not computed
GRAM_BLOCK = 1024


@dataclass(frozen=True)
class CenteredMoments:
    """Moments about the means, float64.

    Attributes:
        count: N, pairs seen; the sum of their weights where they have any.
        student_mean: `(student_dim,)`.
        teacher_mean: `(teacher_dim,)`.
        gram: `(student_dim, student_dim)`, sum over pairs of centred student ⊗ student.
        cross: `(student_dim, teacher_dim)`, sum of centred student ⊗ teacher.
        teacher_variation: sum of squares of the centred teacher, over pairs and dimensions.
    """

    count: float
    student_mean: Tensor
    teacher_mean: Tensor
    gram: Tensor
    cross: Tensor
    teacher_variation: float

    def joined(self, other: CenteredMoments) -> CenteredMoments:
        """The moments of these pairs and of others.

        Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances,
        COMPSTAT 1982, eq. 2.1.
        """
        share = other.count / (self.count + other.count)
        student_gap, teacher_gap = other.student_mean - self.student_mean, other.teacher_mean - self.teacher_mean
        apart = self.count * share
        return CenteredMoments(
            count=self.count + other.count,
            student_mean=self.student_mean + share * student_gap,
            teacher_mean=self.teacher_mean + share * teacher_gap,
            gram=torch.addr(self.gram, student_gap, student_gap, alpha=apart).add_(other.gram),
            cross=torch.addr(self.cross, student_gap, teacher_gap, alpha=apart).add_(other.cross),
            teacher_variation=self.teacher_variation
            + other.teacher_variation
            + apart * float(teacher_gap @ teacher_gap),
        )

    def without(self, part: CenteredMoments) -> CenteredMoments:
        """The moments of these pairs but for some of them: `rest.joined(part)` gives `self` again.

        Raises:
            DataError: if nothing would be left.
        """
        count = self.count - part.count
        if count <= 0:
            raise DataError(f"{part.count:g} pairs cannot be taken out of {self.count:g}: none would be left")
        # the means of the rest lie on the other side of the mean of all
        student_gap, teacher_gap = part.student_mean - self.student_mean, part.teacher_mean - self.teacher_mean
        share = part.count / count
        apart = part.count * (1 + share)
        return CenteredMoments(
            count=count,
            student_mean=self.student_mean - share * student_gap,
            teacher_mean=self.teacher_mean - share * teacher_gap,
            gram=torch.addr(self.gram, student_gap, student_gap, alpha=-apart).sub_(part.gram),
            cross=torch.addr(self.cross, student_gap, teacher_gap, alpha=-apart).sub_(part.cross),
            teacher_variation=max(
                0.0, self.teacher_variation - part.teacher_variation - apart * float(teacher_gap @ teacher_gap)
            ),
        )


class Moments:
    """Running sums about a shift, so that a large common mean costs no precision.

    Vectors of generative models share a mean far larger than their spread, and float32 sums of products would lose the
    spread. So the mean of the first batch is subtracted first. Sums within a batch are float32, sums of batches are
    float64.
    Sums of several shards or processes add up, see `merge` and `all_reduce`.

    Args:
        student_shift: `(student_dim,)`, near the mean.
        teacher_shift: `(teacher_dim,)`, likewise.
    """

    def __init__(self, student_shift: Tensor, teacher_shift: Tensor) -> None:
        # in float32, so that subtracting it from a float32 vector near it loses nothing
        self.student_shift = student_shift.float()
        self.teacher_shift = teacher_shift.float()
        self.count = 0.0
        self.student_sum = torch.zeros_like(self.student_shift, dtype=torch.float64)
        self.teacher_sum = torch.zeros_like(self.teacher_shift, dtype=torch.float64)
        # lower triangle of blocks; `centered` mirrors it
        self.gram = self.student_sum.new_zeros(len(student_shift), len(student_shift))
        self.cross = self.student_sum.new_zeros(len(student_shift), len(teacher_shift))
        # a tensor: a number would make the CPU wait for the GPU in every batch
        self.teacher_square = self.student_sum.new_zeros(())

    @classmethod
    def of(cls, batches: Iterable[tuple[Tensor, Tensor]], weights: Tensor | None = None) -> Moments:
        """Sum up all batches; the shift is the mean of the first.

        Args:
            batches: N pairs.
            weights: `(N,)` of the pairs, in their order; see `streaming.weights_of`.

        Raises:
            DataError: if there is no pair, or a vector that is not finite.
        """
        moments: Moments | None = None
        seen = 0
        for student, teacher in batches:
            if not len(student):
                continue
            if moments is None:
                moments = cls(student.double().mean(dim=0), teacher.double().mean(dim=0))
            part = None if weights is None else weights[seen : seen + len(student)]
            moments.add(student, teacher, part)
            seen += len(student)
        if moments is None:
            raise DataError("no pairs to solve on; expected at least one")
        if not bool(moments.student_sum.isfinite().all() & moments.teacher_sum.isfinite().all()):
            raise DataError("vectors to solve on hold NaN or infinite numbers; expected finite ones; embed them again")
        return moments

    def add(self, student: Tensor, teacher: Tensor, weights: Tensor | None = None) -> None:
        """Add `(B, student_dim)` and `(B, teacher_dim)` of any float type, each pair as often as its weight `(B,)`."""
        # half precision would round the difference; float64 keeps its precision until the shift is subtracted
        student = (student.float() if student.dtype.itemsize < 4 else student) - self.student_shift
        teacher = (teacher.float() if teacher.dtype.itemsize < 4 else teacher) - self.teacher_shift
        student, teacher = student.float(), teacher.float()
        if weights is None:
            self.count += len(student)
            self.student_sum += student.sum(dim=0)
            self.teacher_sum += teacher.sum(dim=0)
        else:
            weights = weights.to(student)
            self.count += float(weights.double().sum())
            self.student_sum += weights @ student
            self.teacher_sum += weights @ teacher
            roots = weights.sqrt().unsqueeze(1)
            student, teacher = student * roots, teacher * roots
        for start in range(0, len(self.gram), GRAM_BLOCK):
            block = slice(start, start + GRAM_BLOCK)
            self.gram[start:, block] += student[:, start:].T @ student[:, block]
        self.cross += student.T @ teacher
        self.teacher_square += torch.linalg.vector_norm(teacher, dim=1).double().square().sum()

    def merge(self, other: Moments) -> None:
        """Add the sums of another shard or process, whatever its shift."""
        student_gap = other.student_shift.double() - self.student_shift.double()
        teacher_gap = other.teacher_shift.double() - self.teacher_shift.double()
        # Σ(s+g)(t+h)ᵀ = Σstᵀ + Σs·hᵀ + g·Σtᵀ + N·g·hᵀ
        self.gram += other.gram + torch.outer(other.student_sum, student_gap)
        self.gram += torch.outer(student_gap, other.student_sum + other.count * student_gap)
        self.cross += other.cross + torch.outer(other.student_sum, teacher_gap)
        self.cross += torch.outer(student_gap, other.teacher_sum + other.count * teacher_gap)
        self.teacher_square += other.teacher_square
        self.teacher_square += teacher_gap @ (2 * other.teacher_sum + other.count * teacher_gap)
        self.student_sum += other.student_sum + other.count * student_gap
        self.teacher_sum += other.teacher_sum + other.count * teacher_gap
        self.count += other.count

    def all_reduce(self) -> Moments:
        """The sums over all processes of `torch.distributed`, each with its own pairs; the same in every process."""
        import torch.distributed as dist

        shifts = [self.student_shift.clone(), self.teacher_shift.clone()]
        for shift in shifts:
            dist.broadcast(shift, src=0)
        total = Moments(*shifts)
        total.merge(self)
        numbers = torch.stack([total.student_sum.new_tensor(total.count), total.teacher_square])
        for part in (numbers, total.student_sum, total.teacher_sum, total.gram, total.cross):
            dist.all_reduce(part)
        total.count, total.teacher_square = float(numbers[0]), numbers[1]
        return total

    def centered(self) -> CenteredMoments:
        """The moments about the means of all pairs added so far."""
        student_mean, teacher_mean = self.student_sum / self.count, self.teacher_sum / self.count
        # in place: for wide students these matrices take the most memory
        gram = torch.addr(self.gram, self.student_sum, student_mean, alpha=-1).tril_()
        gram += gram.tril(-1).T
        return CenteredMoments(
            count=self.count,
            student_mean=student_mean + self.student_shift,
            teacher_mean=teacher_mean + self.teacher_shift,
            gram=gram,
            cross=torch.addr(self.cross, self.student_sum, teacher_mean, alpha=-1),
            teacher_variation=max(0.0, float(self.teacher_square - self.teacher_sum @ teacher_mean)),
        )
