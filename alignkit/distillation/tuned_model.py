"""Student and head as one module, which is trained as a head is."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from alignkit.distillation.tokens import TokenBatch
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.heads.base import Head


class TunedModel(nn.Module):
    """`aligned = head(student(tokens))`.

    Args:
        student: trained in place.
        head: likewise.
        student_rate: the student's peak learning rate, relative to the head's.
    """

    def __init__(self, student: TrainableStudent, head: Head, student_rate: float) -> None:
        super().__init__()
        self.student, self.head = student, thawed(head)
        self.student_rate = student_rate

    def forward(self, batch: TokenBatch) -> Tensor:
        """Tokens of B texts → `(B, teacher_dim)`."""
        aligned: Tensor = self.head(self.student(batch))
        return aligned

    def freeze_unused(self, batch: TokenBatch) -> None:
        """Freeze what no vector depends on, such as BERT's pooler: several processes would wait for its gradient."""
        self(batch).sum().backward()
        for parameter in self.parameters():
            parameter.requires_grad_(parameter.grad is not None)
        self.zero_grad()

    def rates(self) -> dict[str, float]:
        """See `Head.rates`."""
        own = {f"student.{name}": factor * self.student_rate for name, factor in self.student.rates().items()}
        return {
            **own,
            "student.": self.student_rate,
            **{f"head.{name}": factor for name, factor in self.head.rates().items()},
        }

    def arguments(self) -> dict[str, Any]:
        """None: several processes load the same student, and its head has the same shapes everywhere."""
        return {}


def thawed(head: Head) -> Head:
    """The head with what training may change, which a finished one has frozen."""
    trainable = {name for name, one in type(head)(**head.arguments()).named_parameters() if one.requires_grad}
    for name, parameter in head.named_parameters():
        parameter.requires_grad_(name in trainable)
    return head.train()
