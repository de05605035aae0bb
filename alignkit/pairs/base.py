"""Pairs: one sentence's student vector beside its teacher vector, and the three splits that a command works on.

Each file of this room is one source of pairs and one YAML in `conf/data/`; its function returns `PairSplits`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alignkit.errors import DataError

MIN_PAIRS = 20


@dataclass(frozen=True)
class Pairs:
    """N sentences with both vectors; row i of every field is the same sentence.

    Attributes:
        ids: N sentence ids, distinct.
        student: `(N, student_dim)` float16/32/64, an array or a read-only memory map; as the embedder gave it.
        teacher: `(N, teacher_dim)`, likewise.
        texts: the N sentences, where they are known.
        labels: N names; equal labels mean relevant to each other (an intent, a paraphrase group).
        groups: N names that a reader knows, for figures by group (a domain, an intent); `None` takes the labels.
        negatives: `(N, K)` int64, rows of this split that are hard negatives of row i; -1 pads.
    """

    ids: Sequence[str]
    student: np.ndarray
    teacher: np.ndarray
    texts: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    negatives: np.ndarray | None = None
    groups: Sequence[str] | None = None

    def __post_init__(self) -> None:
        rows = {len(self.ids), len(self.student), len(self.teacher)}
        rows |= {len(part) for part in (self.texts, self.labels, self.negatives, self.groups) if part is not None}
        if len(rows) != 1:
            raise DataError(
                f"pairs must have one student and one teacher row a sentence: got {len(self.ids)} ids, "
                f"{len(self.student)} student rows, {len(self.teacher)} teacher rows"
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def student_dim(self) -> int:
        """Width of the student's vectors."""
        return int(self.student.shape[1])

    @property
    def teacher_dim(self) -> int:
        """Width of the teacher's vectors."""
        return int(self.teacher.shape[1])


@dataclass(frozen=True)
class PairSplits:
    """Train, validation and test pairs, disjoint by sentence, with what is known of where they came from.

    Attributes:
        meta: plain JSON values: `source` (one line for the report), `real` (bool or None), `student_identity` and
            `teacher_identity` (None for bare vectors), `split` (how the splits were made), and what else is worth
            reporting.
    """

    train: Pairs
    validation: Pairs
    test: Pairs
    meta: dict[str, Any] = field(default_factory=dict)
