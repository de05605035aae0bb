"""What an engine keeps about a migration beside the new vectors, so that any machine can go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import ConfigError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.replacement import Replacement


@dataclass(frozen=True)
class MigrationNote:
    """Whose new vectors these are, and what was found out about them.

    Attributes:
        head: SHA-256 of the head's weights.
        role: that the rows have for the head.
        student: the model behind the old vectors.
        teacher: the model whose space the new ones lie in.
        copied: when a copy first came to its end, so that a row without a new vector came or changed since.
        verified: when they were read back and agreed with the head; `None` if not since most of them were written.
        compared: likewise, when searches in old and new were compared.
    """

    head: str
    role: Role
    student: str
    teacher: str
    copied: str | None = None
    verified: str | None = None
    compared: str | None = None

    def same_vectors(self, other: MigrationNote) -> bool:
        """Whether both make the same new vectors."""
        return (self.head, self.role) == (other.head, other.role)

    def words(self) -> str:
        """In a few words."""
        return f"head {self.head[:8]}, from {self.student} to {self.teacher}, role={self.role}"


def note_for(artifact: Artifact, role: Role) -> MigrationNote:
    """The note of a migration by this head, nothing found out yet."""
    return MigrationNote(
        head=artifact.digest(),
        role=role,
        student=name_of(artifact.student_identity, "its student"),
        teacher=name_of(artifact.teacher_identity, "its teacher"),
    )


def name_of(identity: Mapping[str, Any] | None, unknown: str) -> str:
    """What a model is called.

    >>> name_of({"backend": "ollama", "model": "bge-m3"}, "its student"), name_of(None, "its student")
    ('bge-m3', 'its student')
    """
    found = (identity or {}).get("model") or (identity or {}).get("backend")
    return str(found) if found else unknown


def read_note(replacement: Replacement[VectorIndex]) -> MigrationNote | None:
    """What is kept in the engine; `None` for nothing, or nothing of ours."""
    found = replacement.note()
    try:
        return None if found is None else MigrationNote(**found)
    except TypeError:  # of a later version
        return None


def keep(replacement: Replacement[VectorIndex], note: MigrationNote) -> MigrationNote:
    """Keep it in the engine, in place of what was kept."""
    replacement.keep_note(asdict(note))
    return note


def now() -> str:
    """What `copied`, `verified` and `compared` are set to."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def expect_same(kept: MigrationNote | None, note: MigrationNote) -> None:
    """Refuse to go on with another head than the one that made the new vectors.

    Raises:
        ConfigError: which names both.
    """
    if kept is not None and not kept.same_vectors(note):
        raise ConfigError(
            f"a migration by another head has begun ({kept.words()}; this is {note.words()}); go on with that one, or "
            "delete its vectors with step=give_up"
        )


def expect_looked_at(kept: MigrationNote | None, force: bool) -> None:
    """Refuse to put vectors in use that nobody has looked at.

    Raises:
        ConfigError: which names the steps to run first.
    """
    steps = ("verify", "compare")
    left = [f"step={step}" for step, done in zip(steps, _done(kept), strict=True) if not done]
    if left and not force:
        raise ConfigError(
            f"these vectors have not been looked at since they were written: run {' and '.join(left)} first, or "
            "cut over with force=true"
        )


def _done(kept: MigrationNote | None) -> tuple[str | None, str | None]:
    return (kept.verified, kept.compared) if kept is not None else (None, None)
