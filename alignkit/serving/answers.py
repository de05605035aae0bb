"""What the models answer to a batch of texts: the student through the head, and the teacher."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import Embedder, RowsInOrder
from alignkit.embedders.rows import unit_rows
from alignkit.errors import ConfigError, EmbedderError
from alignkit.head_models import check_teacher
from alignkit.serving.limits import RULES
from alignkit.setting_rules import check

# how many calls to a model behind a server may hang at the same time, each in its own thread
MOST_HUNG = 4


@dataclass(frozen=True)
class Answer:
    """Vectors of N texts.

    Attributes:
        vectors: `(N, teacher_dim)` float32, L2-normalised; rows of failed texts are undefined.
        failures: position of each text without a vector → the reason.
        confidence: `(N,)` in [0, 1]; None if the head does not estimate it.
        by_teacher: `(N,)` bool, which rows the teacher embedded; None if it was not asked.
        student: `(N, student_dim)` float32, the student's own vectors; None if nobody wants them.
    """

    vectors: np.ndarray
    failures: Mapping[int, str]
    confidence: np.ndarray | None
    by_teacher: np.ndarray | None = None
    student: np.ndarray | None = None

    def part(self, start: int, stop: int) -> Answer:
        """The answer to texts `start` up to `stop`."""
        failures = {row - start: reason for row, reason in self.failures.items() if start <= row < stop}
        confidence = None if self.confidence is None else self.confidence[start:stop]
        by_teacher = None if self.by_teacher is None else self.by_teacher[start:stop]
        student = None if self.student is None else self.student[start:stop]
        return Answer(self.vectors[start:stop], failures, confidence, by_teacher, student)

    def spread(self, rows: Sequence[int], count: int, other: np.ndarray) -> Answer:
        """`count` rows: these vectors at `rows`, and `other` `(teacher_dim,)` with confidence 0 everywhere else."""
        vectors = np.tile(other, (count, 1))
        vectors[rows] = self.vectors
        confidence, by_teacher = self.confidence, self.by_teacher
        if confidence is not None:
            confidence = np.zeros(count, dtype=np.float32)
            confidence[rows] = self.confidence
        if by_teacher is not None:
            by_teacher = np.zeros(count, dtype=bool)
            by_teacher[rows] = self.by_teacher
        return Answer(vectors, {rows[row]: reason for row, reason in self.failures.items()}, confidence, by_teacher)

    @property
    def teacher_texts(self) -> int:
        """How many rows the teacher embedded."""
        return 0 if self.by_teacher is None else int(self.by_teacher.sum())


def join_answers(answers: Sequence[Answer]) -> Answer:
    """The answers to the parts of one request, as one answer."""
    failures: dict[int, str] = {}
    start = 0
    for answer in answers:
        failures.update({start + row: reason for row, reason in answer.failures.items()})
        start += len(answer.vectors)
    confidence = [answer.confidence for answer in answers if answer.confidence is not None]
    student = [answer.student for answer in answers if answer.student is not None]
    return Answer(
        np.concatenate([answer.vectors for answer in answers]),
        failures,
        np.concatenate(confidence) if len(confidence) == len(answers) else None,
        student=np.concatenate(student) if len(student) == len(answers) else None,
    )


class Answerer:
    """Embeds queries for the server; called from its worker threads.

    Args:
        aligned: student and head.
        teacher: embeds live the queries that the head is least sure of; see `Fallback`. It is also a route of `Search`.
        fallback_below: confidence in [0, 1] below which the teacher is asked; None for never.
        keep_student: whether answers have the student's own vectors too.

    Raises:
        ConfigError: if a teacher is given but the head estimates no confidence.
        ArtifactError: if it is another teacher than the head's.
    """

    def __init__(
        self,
        aligned: AlignedEmbedder,
        teacher: Embedder | None = None,
        fallback_below: float | None = 0.5,
        keep_student: bool = False,
    ) -> None:
        if teacher is not None:
            if fallback_below is not None:
                _check_fallback(aligned, fallback_below)
            check_teacher(aligned.artifact, teacher, "query")
        self.aligned = aligned
        self.teacher = teacher
        self.fallback_below = fallback_below
        self._keep_student = keep_student
        # a model in this process takes one call at a time
        free = getattr(aligned.student, "thread_safe", False)
        self._turn: contextlib.AbstractContextManager[object] = contextlib.nullcontext() if free else threading.Lock()

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.aligned.dim

    @property
    def is_look_up(self) -> bool:
        """Whether the student is a table in this process, which cannot hang."""
        return getattr(self.aligned.student, "table", None) is not None

    @functools.cached_property
    def blank_vector(self) -> np.ndarray:
        """The vector of a blank text, `(teacher_dim,)`: the head's output for a zero student vector."""
        vector = self.aligned.align(np.zeros((1, self.aligned.artifact.student_dim), dtype=np.float32))[0]
        # a head without an offset maps zero to zero, which has no direction
        return vector if vector.any() else np.full_like(vector, self.dim**-0.5)

    def answer(self, texts: Sequence[str]) -> Answer:
        """Vectors of all texts.

        Raises:
            EmbedderError: if the student leaves a text unanswered or gives vectors of the wrong width.
        """
        rows = RowsInOrder(len(texts), self.dim)
        own = RowsInOrder(len(texts), self.aligned.artifact.student_dim) if self._keep_student else None
        confidence = np.zeros(len(texts), dtype=np.float32)
        estimated = False
        with self._turn:
            for batch in self.aligned.embed_student(texts):
                rows.put(batch, self.aligned.align(batch.vectors))
                if own is not None:
                    own.put(batch)
                sure = self.aligned.confidence(batch.vectors)
                if sure is not None:
                    confidence[batch.indices] = sure
                    estimated = True
        vectors, failures = rows.all()
        student = None if own is None else own.all()[0]
        return Answer(vectors, failures, confidence if estimated else None, student=student)

    def student_documents(self, texts: Sequence[str]) -> np.ndarray:
        """The student's own vectors of documents, `(N, student_dim)`; zero for a text that it refuses.

        Raises:
            EmbedderError: if the student fails.
        """
        rows = RowsInOrder(len(texts), self.aligned.artifact.student_dim)
        with self._turn:
            for batch in self.aligned.student.embed(texts, "document"):
                rows.put(batch)
        vectors, failures = rows.all()
        vectors[list(failures)] = 0
        return vectors

    def ask_teacher(self, texts: Sequence[str]) -> Answer:
        """The teacher's own vectors of all texts.

        Raises:
            EmbedderError: if the teacher leaves a text unanswered or gives vectors of the wrong width.
        """
        rows = RowsInOrder(len(texts), self.dim)
        for batch in self.teacher.embed(texts, "query") if self.teacher is not None else ():
            if batch.vectors.shape[1] != self.dim:
                raise EmbedderError(f"the teacher gave {batch.vectors.shape[1]}-d vectors, expected {self.dim}-d")
            rows.put(batch, unit_rows(batch.vectors))
        vectors, failures = rows.all()
        return Answer(vectors, failures, None)


def most_hung(embedder: Embedder | None) -> int:
    """How many calls may hang before a model gets no more: a model in this process takes one call at a time."""
    return MOST_HUNG if getattr(embedder, "thread_safe", False) else 1


def _check_fallback(aligned: AlignedEmbedder, fallback_below: float) -> None:
    check({"fallback_below": fallback_below}, RULES)
    if not aligned.estimates_confidence:
        raise ConfigError(
            "fallback=teacher needs a head with a confidence estimate, and this one has none; "
            "train it with one, or serve without fallback"
        )
