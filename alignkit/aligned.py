"""A student and its head as one embedder: texts in, vectors in the teacher's space out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.artifact import CONFIDENCE, DOCUMENT_HEAD, QUERY_HEAD, WHITENING, Artifact, load_artifact
from alignkit.embedders.adapted import as_embedder
from alignkit.embedders.base import EmbeddedBatch, Embedder, Role, current_identity, join_batches
from alignkit.embedders.by_name import named_embedder, recorded_embedder
from alignkit.embedders.distilled import DistilledEmbedder, check_unchanged, is_distilled
from alignkit.embedders.sameness import differences
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import ArtifactError, EmbedderError
from alignkit.head_models import check_student
from alignkit.hub.fetching import head_path
from alignkit.resources.demo_pack import TABLE, is_packed_table
from alignkit.student_files import STUDENT, find_student

if TYPE_CHECKING:
    from alignkit.heads.base import Head


class WidthError(EmbedderError):
    """The student gives vectors that the head cannot take."""

    brief = "vectors of another width"  # for who shall not read the rest


class AlignedEmbedder:
    """Embeds with the cheap student, answers in the teacher's space; an `Embedder` like any other.

    Args:
        artifact: the trained head.
        student: the embedder whose vectors the head was trained on: one of `alignkit.embedders`, or what
            `as_embedder` makes one of: a name, a name with settings, an object with `encode(texts)`, a function.
        allow_student_mismatch: go on, with a warning, where the student is another one or cannot be compared.

    Attributes:
        student_role: whose prompt the student's vectors are made with, whatever the text.

    Raises:
        ArtifactError: if the student is not the one that the head was trained with.
    """

    def __init__(self, artifact: Artifact, student: Any, allow_student_mismatch: bool = False) -> None:
        self.artifact = artifact
        self.student = as_embedder(student)
        # a head knows the vectors of one prompt only: whichever role gave them, that role is used for all texts
        self.student_role = check_student(artifact, self.student, allow_student_mismatch)

    @classmethod
    def load(
        cls, head: str | Path, student: Any | None = None, allow_student_mismatch: bool = False
    ) -> AlignedEmbedder:
        """From a head on disk, a run folder, its `head/` or a bundle, or from the Hub: `hf://user/repo@revision`.

        Args:
            head: where it is.
            student: see the class; `None` for the one that the head was trained with: it lies beside the head, is in
                an installed package, or is behind the server that `alignkit.embedders` asks by default.
            allow_student_mismatch: see the class.

        Raises:
            ArtifactError: if the head is damaged, it does not say enough of its student, or the student is not the one
                that it was trained with.
            HubError: if the Hub refuses.
        """
        head = head_path(head)  # once: what an address names may change
        artifact = load_artifact(head)
        if student is None:
            student = own_student(artifact, head, allow_student_mismatch)
        return cls(artifact, student, allow_student_mismatch)

    @property
    def dim(self) -> int:
        """Width of the teacher's vectors."""
        return self.artifact.teacher_dim

    def encode(self, texts: Sequence[str], role: Role = "query") -> np.ndarray:
        """Vectors in the teacher's space, `(len(texts), dim)` float32, L2-normalised, in order.

        Raises:
            EmbedderError: if any text has no vector; the message counts them and gives the first reason.
        """
        return join_batches(self.embed(texts, role), len(texts), self.dim)

    def embed(self, texts: Sequence[str], role: Role = "query") -> Iterator[EmbeddedBatch]:
        """The same in batches as they finish, texts without a vector by position with the reason; see `Embedder`."""
        for batch in self.embed_student(texts):
            yield EmbeddedBatch(batch.indices, self.align(batch.vectors, role), batch.failures)

    def embed_student(self, texts: Sequence[str]) -> Iterator[EmbeddedBatch]:
        """The student's own vectors, as the head takes them.

        Raises:
            EmbedderError: if the student gives vectors of another width than the head takes.
        """
        for batch in self.student.embed(texts, self.student_role):
            _check_width(batch.vectors, self.artifact.student_dim)
            yield batch

    def align(self, student: np.ndarray, role: Role = "query") -> np.ndarray:
        """Student vectors `(N, student_dim)` → teacher space `(N, dim)` float32, L2-normalised.

        Raises:
            EmbedderError: if numbers overflow in the head.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            aligned = self.artifact.align(np.ascontiguousarray(student, dtype=np.float32), role)
            lengths = np.linalg.norm(aligned, axis=1, keepdims=True)
            vectors = aligned / np.maximum(lengths, 1e-12)
        # of finite numbers too large to square the length is infinite, and the vector would be zero
        if broken := int((~np.isfinite(lengths)).sum()):
            raise EmbedderError(
                f"numbers overflow in the head for {broken} of {len(vectors)} vectors; the student's vectors are too "
                "large for it, or not finite: embed with the student that it was trained with"
            )
        return vectors

    @property
    def estimates_confidence(self) -> bool:
        """Whether the head tells how sure it is."""
        return CONFIDENCE in self.artifact.parts

    def confidence(self, student: np.ndarray) -> np.ndarray | None:
        """How sure the head is of each row of `(N, student_dim)`: `(N,)` in [0, 1]; None where it has no estimate."""
        return self.artifact.confidence_in(np.ascontiguousarray(student, dtype=np.float32))

    def settings(self, role: Role = "query") -> dict[str, Any]:
        """The identity without what is read from the student's model or its server."""
        return self._about(self.student.settings(self.student_role), role)

    def identity(self, role: Role = "query") -> dict[str, Any]:
        """What decides a vector: the student and the weights of the head."""
        return self._about(self.student.identity(self.student_role), role)

    def _about(self, student: dict[str, Any], role: Role) -> dict[str, Any]:
        return {
            "backend": "aligned",
            "student": student,
            "head": self._head_name(role),
            "teacher": self.artifact.teacher_identity,
            "digest": self.artifact.digest(),
            "normalize": True,
        }

    def _head_name(self, role: Role) -> str:
        """Roles with the same vectors have the same name."""
        if role == "document" and DOCUMENT_HEAD in self.artifact.parts:
            return DOCUMENT_HEAD
        return WHITENING if role == "query" and WHITENING in self.artifact.parts else QUERY_HEAD

    def changes_of_student(self) -> list[str]:
        """What the student is now that it was not when the head was put in front of it, in words; empty for nothing.

        A server is asked once, briefly.

        Raises:
            EmbedderError: if it does not answer now, or has no such model any more.
        """
        role = self.student_role
        return differences(self.student.identity(role), current_identity(self.student, role))

    def provenance(self) -> dict[str, Any]:
        """What is worth recording beside the identity."""
        return {"student": self.student.provenance(), "metrics": self.artifact.metrics}

    def close(self) -> None:
        """Free the student; harmless twice."""
        self.student.close()


def head_for(artifact: Artifact, role: Role) -> Head:
    """The head that texts of a role go through, as a module; see `Artifact.align`."""
    return artifact.document_head if role == "document" else artifact.query_head


def own_student(artifact: Artifact, head: str | Path, allow_mismatch: bool = False) -> Embedder:
    """The student that a head was trained with.

    Args:
        artifact: the head.
        head: where it was read from.
        allow_mismatch: take what lies beside the head as it is.

    Raises:
        ArtifactError: if the head does not say enough of it, or it is not there as it was.
    """
    identity = artifact.student_identity
    if is_packed_table(identity):
        return TableEmbedder(TABLE)
    if (recorded := recorded_embedder(identity)) is not None:
        return named_embedder(recorded)
    return DistilledEmbedder(student_beside(artifact, head, allow_mismatch))


def student_beside(artifact: Artifact, head: str | Path, allow_mismatch: bool = False) -> Path:
    """The folder of the student that was trained with a head and lies beside it, also where both were moved.

    Args:
        artifact: the head.
        head: where it was read from.
        allow_mismatch: take the folder as it is, even if its files are others.

    Raises:
        ArtifactError: if the head has none, its folder is not there, or its files are not those of the training.
    """
    identity = artifact.student_identity
    if identity is None or not is_distilled(identity):
        name = "bare vectors" if identity is None else str(identity.get("model") or identity.get("backend"))
        raise ArtifactError(f"{head}: no student of its own lies beside this head, it was trained on {name}; give one")
    folder = find_student(head)
    if folder is None:
        raise ArtifactError(
            f"{head}: the {STUDENT}/ that this head was trained with is not beside it; copy the whole run folder, "
            "or say where it is: student=distilled student.path=FOLDER"
        )
    if not allow_mismatch:
        check_unchanged(folder, identity, head)
    return folder


def _check_width(vectors: np.ndarray, expected: int) -> None:
    if vectors.ndim != 2 or vectors.shape[1] != expected:
        raise WidthError(
            f"the student gave vectors of width {vectors.shape[-1]}, the head expects {expected}; "
            "was the model behind the student changed?"
        )
