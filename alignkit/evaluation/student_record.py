"""How a student was trained with its head, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.artifact import Artifact
from alignkit.evaluation.forgotten import Forgetting
from alignkit.evaluation.table_rows import HEAD_ALONE, TRAINED_STUDENT, Product

# under which `meta` of `metrics.json` has the record
KEY = "student_training"


@dataclass(frozen=True)
class StudentRecord:
    """What training the student did.

    Attributes:
        kept: whether the trained student was kept; otherwise it is as it was.
        reason: of that, in words.
        epochs: that were trained.
        best_epoch: of the state that was kept; 0 is the start.
        seconds: that training took.
        texts_per_s: that went through the student, forward and backward.
        teacher_calls: texts that the teacher embedded to make or train the student; `None` where that is not known.
        forgetting: on texts unlike the training texts; `None` where that was not looked at.
        unchecked: why it was not.
    """

    kept: bool
    reason: str
    epochs: float
    best_epoch: float
    seconds: float
    texts_per_s: float | None = None
    teacher_calls: int | None = None
    forgetting: Forgetting | None = None
    unchecked: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As `meta.student_training` in `metrics.json` has it."""
        return {**vars(self), "forgetting": self.forgetting.to_json() if self.forgetting else None}


def product_of(artifact: Artifact) -> Product:
    """What the rows of a head are called, which the figures of its own test split tell."""
    rows = artifact.metrics.get("rows", artifact.metrics)
    return TRAINED_STUDENT if isinstance(rows, Mapping) and TRAINED_STUDENT.row in rows else HEAD_ALONE
