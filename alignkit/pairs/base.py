"""Pairs: one sentence's student vector beside its teacher vector, and the three splits that a command works on.

Each file of this room is one source of pairs and one YAML in `conf/data/`; its function returns `PairSplits`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from alignkit.errors import CacheError, DataError
from alignkit.sentences.text_fields import FieldRows

MIN_PAIRS = 20
Identity = dict[str, Any]


class MissingVectorsError(CacheError):
    """The vector cache lacks vectors of one side.

    Args:
        message: how many, and where.
        side: `student` or `teacher`.
        refused: whether its model was asked and gave none, so that it must be asked again on purpose.
    """

    def __init__(self, message: str, side: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.side, self.refused = side, refused


@dataclass(frozen=True)
class Pairs:
    """N sentences with both vectors; row i of every field is the same sentence.

    Attributes:
        ids: N sentence ids, distinct.
        student: `(N, student_dim)` float16/32/64, an array or a read-only memory map; as the embedder gave it. `(N, 0)`
            where no student has embedded the sentences yet, see `pairs.embedded.with_student`.
        teacher: `(N, teacher_dim)`, likewise.
        texts: the N sentences, where they are known.
        labels: N names; equal labels mean relevant to each other (an intent, a paraphrase group).
        groups: N names that a reader knows, for figures by group (a domain, an intent); `None` takes the labels.
        negatives: `(N, K)` int64, rows of this split that are hard negatives of row i; -1 pads.
        weights: `(N,)` float64 above 0, how much each pair counts where a head is fitted; `None` where all count the
            same. Those that count most are the user's own, see `pairs.extra`.
    """

    ids: Sequence[str]
    student: np.ndarray
    teacher: np.ndarray
    texts: Sequence[str] | None = None
    labels: Sequence[str] | None = None
    negatives: np.ndarray | None = None
    groups: Sequence[str] | None = None
    weights: np.ndarray | None = None

    def __post_init__(self) -> None:
        rows = {len(self.ids), len(self.student), len(self.teacher)}
        others = (self.texts, self.labels, self.negatives, self.groups, self.weights)
        rows |= {len(part) for part in others if part is not None}
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
class Cut:
    """Texts that a model did not read to the end.

    Attributes:
        sentences: how many of the sentences are longer than its context.
        context: in tokens; `None` where that is not known.
    """

    sentences: int
    context: int | None


@dataclass(frozen=True)
class Origin:
    """Where vectors came from.

    Attributes:
        source: one line for the report.
        real: whether people wrote the sentences; `None` where that is not known.
        split: how the splits were made.
        student_identity: of the model that made the vectors; `None` for bare vectors.
        teacher_identity: likewise.
        notes: what was left out and why, one sentence each.
        sentences: in the file, repeated ones included.
        repetitions: how many of them repeat another.
        quarantined: side → how many sentences it has no vector of.
        cut: side → what its model did not read to the end.
        documents_for_queries: whether the texts are documents that stand in for queries, which nobody has; `None` where
            that is not known.
        fields: rows that say more of the texts, by which queries may be grouped; those of the queries first.
    """

    source: str = "vectors"
    real: bool | None = None
    split: str = "not stated"
    student_identity: Identity | None = None
    teacher_identity: Identity | None = None
    notes: tuple[str, ...] = ()
    sentences: int | None = None
    repetitions: int | None = None
    quarantined: Mapping[str, int] | None = None
    cut: Mapping[str, Cut] | None = None
    documents_for_queries: bool | None = None
    fields: tuple[FieldRows, ...] = ()

    def identity(self, side: str) -> Identity | None:
        """Of `student` or `teacher`."""
        return {"student": self.student_identity, "teacher": self.teacher_identity}[side]

    def to_json(self) -> dict[str, Any]:
        """As `meta` in `metrics.json` has it; what only some sources know is left out where it is not known."""
        counted = ("sentences", "repetitions", "quarantined", "cut", "documents_for_queries")
        told = asdict(replace(self, fields=()))
        del told["fields"]
        known = {name: value for name, value in told.items() if value is not None or name not in counted}
        return {**known, "notes": list(self.notes)}


@dataclass(frozen=True)
class PairSplits:
    """Train, validation and test pairs, disjoint by sentence, and where they came from.

    Attributes:
        train: what a head is fitted on.
        validation: what is chosen by.
        test: what is measured on.
        origin: where they came from.
        corpus: what the test sentences search, where that is more than themselves; those that are rows of it have the
            same ids there.
        qrels: id of a test sentence → id of a row of the corpus → grade, where there are judgements.
    """

    train: Pairs
    validation: Pairs
    test: Pairs
    origin: Origin = Origin()
    corpus: Pairs | None = None
    qrels: Mapping[str, Mapping[str, int]] | None = None

    @property
    def parts(self) -> tuple[Pairs, Pairs, Pairs]:
        """All three, in this order."""
        return self.train, self.validation, self.test


def no_student(count: int) -> np.ndarray:
    """The student's side of sentences that none has embedded yet: `(count, 0)` float32."""
    return np.empty((count, 0), dtype=np.float32)
