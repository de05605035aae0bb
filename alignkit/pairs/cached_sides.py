"""Both sides' vectors of some sentences out of the vector cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from alignkit.cache import KeyedTexts, VectorCache
from alignkit.cache.stored import StoredVectors
from alignkit.embedders.base import ROLES, Embedder, Role, current_identity, session_of
from alignkit.errors import DataError, EmbedderError
from alignkit.pairs.base import Cut, MissingVectorsError, no_student
from alignkit.progress import progress
from alignkit.sentences.records import Sentence
from alignkit.setting_rules import check, one_of

logger = logging.getLogger(__name__)

# smaller splits are read at once; larger ones stay on disk, and the rows of a batch are read when it is made
IN_MEMORY_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True)
class BothSides:
    """Sentences that have both vectors, and whose vectors these are.

    Attributes:
        sentences: those that are left.
        texts: theirs.
        student_identity: of the cached vectors; `None` where no student was given.
        teacher_identity: likewise.
        quarantined: side → how many sentences it has no vector of.
        cut: side → what its model did not read to the end.
    """

    sentences: list[Sentence]
    texts: KeyedTexts
    student_identity: dict[str, Any] | None
    teacher_identity: dict[str, Any]
    quarantined: dict[str, int]
    cut: dict[str, Cut]

    def arrays(self, cache: VectorCache, rows: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Student's and teacher's vectors of some of the sentences, read where they fit into memory."""
        texts = self.texts.take(np.asarray(rows, dtype=np.int64))
        teacher = as_array(cache.vectors_of(self.teacher_identity, texts))
        if self.student_identity is None:
            return no_student(len(texts)), teacher
        return as_array(cache.vectors_of(self.student_identity, texts)), teacher


@dataclass(frozen=True)
class OneSide:
    """Texts that one model has a vector of.

    Attributes:
        rows: positions of these texts among those that were asked for.
        texts: the texts themselves.
        identity: whose vectors these are.
        quarantined: how many texts are left out.
    """

    rows: np.ndarray
    texts: KeyedTexts
    identity: dict[str, Any]
    quarantined: int


@dataclass(frozen=True)
class CachedSides:
    """Looks sentences up in the cache; the teacher is never called, the student for what is missing.

    Attributes:
        cache: open.
        student: embeds what the cache lacks, where `live`; `None` for the teacher's side alone.
        teacher: only its settings are looked at.
        cache_dir: its folder, for messages.
        role: whose prompt the vectors were made with.
        live: whether the student may be asked.
    """

    cache: VectorCache
    student: Embedder | None
    teacher: Embedder
    cache_dir: Path
    role: Role = "document"
    live: bool = True

    def both(self, sentences: Sequence[Sentence]) -> BothSides:
        """Sentences with both vectors, or with the teacher's where there is no student.

        Raises:
            MissingVectorsError: if the cache lacks vectors; it says how many, and of which side.
            EmbedderError: if the student has to be asked and cannot.
        """
        teachers = self._stored("teacher", self.teacher, KeyedTexts([sentence.text for sentence in sentences]))
        kept, texts = [sentences[row] for row in teachers.rows], teachers.texts
        quarantined, student_identity = {"teacher": teachers.quarantined}, None
        identities = {"teacher": teachers.identity}
        if self.student is not None:
            students = self.students(texts)
            kept, texts = [kept[row] for row in students.rows], students.texts
            quarantined["student"], student_identity = students.quarantined, students.identity
            identities["student"] = student_identity
        cut = {side: self.cut(identity, texts) for side, identity in identities.items()}
        return BothSides(kept, texts, student_identity, teachers.identity, quarantined, cut)

    def students(self, texts: KeyedTexts) -> OneSide:
        """The texts with a vector by the student, which embeds what the cache lacks.

        Raises:
            MissingVectorsError: if the cache lacks vectors and the student may not be asked, or gives none.
            EmbedderError: if the student has to be asked and cannot.
        """
        if self.student is None:
            raise DataError("there is no student to embed these texts")
        self._fill(self.student, texts)
        return self._stored("student", self.student, texts)

    def _fill(self, student: Embedder, texts: KeyedTexts) -> None:
        if not self.live:
            return
        with progress("student", "texts") as counted:
            counted.begin(len(texts.firsts()))
            report = self.cache.fill(student, texts, self.role, counted.advance)
        logger.info("student: %d sentences embedded, %d cached", report.new, report.cached)

    def cut(self, identity: Mapping[str, Any], texts: KeyedTexts) -> Cut:
        """Of the texts, those that this model did not read to the end."""
        headers = self.cache.headers(identity)
        context = next((known for header in reversed(headers) if (known := header.provenance.get("context"))), None)
        return Cut(self.cache.cut(identity, texts), context)

    def _stored(self, side: str, embedder: Embedder, texts: KeyedTexts) -> OneSide:
        """The texts that have a vector; those that have none for good are left out."""
        identity = self.cache.remembered(embedder.settings(self.role)) or self._filed_otherwise(embedder)
        if identity is None:
            raise self._missing(side, len(texts), len(texts))
        lacking = set(self.cache.missing(identity, texts).tolist())
        reasons = self.cache.quarantined(identity, texts)
        quarantined = lacking & reasons.keys()
        if lacking - quarantined:
            raise self._missing(side, len(lacking - quarantined), len(texts))
        if quarantined:
            reason = reasons[min(quarantined)]
            if len(quarantined) == len(texts):
                raise MissingVectorsError(
                    f"the {side} gave no vector for any of {len(texts)} sentences when it was asked ({reason})",
                    side, refused=True,
                )  # fmt: skip
            logger.warning(
                "%d sentences are left out: the %s gave no vector for them (%s)", len(quarantined), side, reason
            )
        rows = np.delete(np.arange(len(texts)), list(quarantined))
        return OneSide(rows, texts.take(rows), identity, len(quarantined))

    def _filed_otherwise(self, embedder: Embedder) -> dict[str, Any] | None:
        """The identity of a model whose vectors are stored under another name, which only its server can tell."""
        if session_of(embedder) is None:
            return None
        try:
            return self.cache.same(current_identity(embedder, self.role))[0]
        except EmbedderError:
            return None

    def _missing(self, side: str, count: int, total: int) -> MissingVectorsError:
        return MissingVectorsError(f"{count} of {total} sentences have no {side} vector in {self.cache_dir}", side)


def check_role(role: str) -> None:
    """Refuse what is no role.

    Raises:
        ConfigError: for anything but `query` and `document`.
    """
    check({"role": role}, {"role": one_of(ROLES)}, "data")


def as_array(vectors: StoredVectors) -> np.ndarray:
    """Read what is small; what is large stays on disk and behaves as an array."""
    size_bytes = vectors.shape[0] * vectors.shape[1] * vectors.dtype.itemsize
    return np.asarray(vectors) if size_bytes <= IN_MEMORY_BYTES else cast(np.ndarray, vectors)
