"""What the models say to a batch of texts: the student through the head, the teacher where the head is unsure."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.aligned import AlignedEmbedder
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError, ConfigError, EmbedderError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Vectors of N texts.

    Attributes:
        vectors: `(N, teacher_dim)` float32, L2-normalised; rows of failed texts are undefined.
        failures: position of a text without a vector → the reason.
        confidence: `(N,)` in [0, 1], None where the head has no such estimate.
        by_teacher: `(N,)` bool, which rows the teacher itself embedded; None where it was not asked.
    """

    vectors: np.ndarray
    failures: Mapping[int, str]
    confidence: np.ndarray | None
    by_teacher: np.ndarray | None = None

    def part(self, start: int, stop: int) -> Answer:
        """The answer to texts `start` up to `stop`."""
        failures = {row - start: reason for row, reason in self.failures.items() if start <= row < stop}
        confidence = None if self.confidence is None else self.confidence[start:stop]
        by_teacher = None if self.by_teacher is None else self.by_teacher[start:stop]
        return Answer(self.vectors[start:stop], failures, confidence, by_teacher)

    @property
    def teacher_texts(self) -> int:
        """How many rows the teacher itself embedded."""
        return 0 if self.by_teacher is None else int(self.by_teacher.sum())


class Answerer:
    """Embeds queries for the server; called from its worker thread.

    Args:
        aligned: student and head.
        teacher: embeds the queries that the head is least sure of, live.
        fallback_below: confidence in [0, 1] under which the teacher is asked.

    Raises:
        ConfigError: if a teacher is given and the head has no confidence, or the teacher does not fit.
    """

    def __init__(self, aligned: AlignedEmbedder, teacher: Embedder | None = None, fallback_below: float = 0.5) -> None:
        if teacher is not None:
            _check_fallback(aligned, teacher, fallback_below)
        self.aligned = aligned
        self._teacher = teacher
        self._fallback_below = fallback_below

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self.aligned.dim

    def answer(self, texts: Sequence[str]) -> Answer:
        """Vectors of all texts.

        Raises:
            EmbedderError: if the student gives nothing at all, or vectors of a wrong width.
        """
        count = len(texts)
        vectors = np.empty((count, self.dim), dtype=np.float32)
        confidence = np.zeros(count, dtype=np.float32)
        failures: dict[int, str] = {}
        estimated = False
        for batch in self.aligned.embed_student(texts):
            failures.update(batch.failures)
            vectors[batch.indices] = self.aligned.align(batch.vectors)
            sure = self.aligned.confidence(batch.vectors)
            if sure is not None:
                confidence[batch.indices] = sure
                estimated = True
        by_teacher: np.ndarray | None = None
        if self._teacher is not None:
            by_teacher = np.zeros(count, dtype=bool)
            unsure = [row for row in np.flatnonzero(confidence < self._fallback_below).tolist() if row not in failures]
            self._ask_teacher(self._teacher, texts, unsure, vectors, by_teacher)
        return Answer(vectors, failures, confidence if estimated else None, by_teacher)

    def _ask_teacher(
        self, teacher: Embedder, texts: Sequence[str], rows: list[int], vectors: np.ndarray, by_teacher: np.ndarray
    ) -> None:
        if not rows:
            return
        try:
            for batch in teacher.embed([texts[row] for row in rows], "query"):
                if batch.vectors.shape[1] != self.dim:
                    raise EmbedderError(f"it gave width {batch.vectors.shape[1]}, expected {self.dim}")
                places = np.asarray(rows, dtype=np.int64)[batch.indices]
                lengths = np.linalg.norm(batch.vectors, axis=1, keepdims=True)
                vectors[places] = batch.vectors / np.maximum(lengths, 1e-12)
                by_teacher[places] = True
        except AlignkitError as error:
            # an unsure vector is better than none: the query is answered without the teacher
            logger.warning("the teacher gave no vectors, the head's stand in for %d texts: %s", len(rows), error)


def _check_fallback(aligned: AlignedEmbedder, teacher: Embedder, fallback_below: float) -> None:
    if not 0 <= fallback_below <= 1:
        raise ConfigError(f"fallback_below={fallback_below}: expected a confidence from 0 to 1")
    if not aligned.estimates_confidence:
        raise ConfigError(
            "fallback=teacher needs a head with a confidence estimate, this one has none; "
            "train it with one, or serve without fallback"
        )
    if teacher.dim != aligned.dim:
        raise ConfigError(
            f"the teacher gives {teacher.dim}-d vectors, the head maps to {aligned.dim}-d; use the head's own teacher"
        )
    recorded = aligned.artifact.teacher_identity
    if recorded is not None and recorded not in (teacher.identity("query"), teacher.identity("document")):
        raise ConfigError("the teacher is not the one that the head was trained with; use that one for fallback")
