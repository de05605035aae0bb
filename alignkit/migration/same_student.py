"""Whether an index holds the vectors of the head's student: others of the same width would be mapped to nonsense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.embedders.base import ROLES, Embedder, Role, RowsInOrder
from alignkit.errors import ConfigError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.exact import unit_rows

ROWS = 64
# of a stored vector with the same text embedded again. Half precision and other batches change it less than this;
# another prompt or pooling of the same model changes it more
SAME = 0.99
# a few texts may have changed since their vectors were made
FEWEST_SAME = 0.9


@dataclass(frozen=True)
class SameStudent:
    """What embedding a sample of rows again shows.

    Attributes:
        rows: that were embedded again.
        same: of them, those whose stored vector is the student's.
        median: cosine of stored and new vector.
        first_other: id of the first row whose vector is another one, as text.
    """

    rows: int
    same: int
    median: float
    first_other: str | None

    @property
    def fits(self) -> bool:
        """Whether the index is the student's."""
        return self.same >= FEWEST_SAME * self.rows


def compare_with_student(index: VectorIndex, student: Embedder, seed: int = 0) -> SameStudent | None:
    """Embed some rows' texts again, for both roles if these differ: which one the index was made with is not known.

    Args:
        index: opened with a field of texts.
        student: the head's.
        seed: of the sample.

    Returns:
        `None` if no row of the sample has both a text and a usable vector, or the student embeds none of them.

    Raises:
        EmbedderError: if the student cannot be asked.
    """
    rows = index.sample(ROWS, seed)
    good = [row for row, text in enumerate(rows.texts or ()) if row not in rows.faults and text.strip()]
    texts = [(rows.texts or [])[row] for row in good]
    found = [
        _compared([str(rows.ids[row]) for row in good], rows.vectors[good], texts, student, role)
        for role in _roles(student)
    ]
    return max((one for one in found if one is not None), key=lambda one: (one.same, one.median), default=None)


def expect_same_student(found: SameStudent, place: str, student: str) -> None:
    """Refuse an index of another model.

    Raises:
        ConfigError: which says how far the vectors are from the student's.
    """
    if not found.fits:
        raise ConfigError(
            f"{place}: {found.rows - found.same} of {found.rows} rows do not hold the vector that {student} gives "
            f"their text (the first: {found.first_other}; median cosine {found.median:.2f}), so this head would map "
            "them to nonsense; train a head for the model that made the index, or, if source.text is not the whole "
            "text that was embedded, go on with force=true"
        )


def _roles(student: Embedder) -> Sequence[Role]:
    return ROLES if student.identity(ROLES[0]) != student.identity(ROLES[1]) else ("document",)


def _compared(
    ids: list[str], stored: np.ndarray, texts: list[str], student: Embedder, role: Role
) -> SameStudent | None:
    if not texts:
        return None
    again = RowsInOrder(len(texts), student.dim)
    for batch in student.embed(texts, role):
        again.put(batch)
    vectors, failures = again.all()
    kept = [row for row in range(len(texts)) if row not in failures]
    if not kept:
        return None
    if vectors.shape[1] != stored.shape[1]:
        return SameStudent(len(kept), 0, 0.0, ids[kept[0]])
    cosines = (unit_rows(vectors[kept]) * unit_rows(stored[kept])).sum(axis=1)
    other = np.flatnonzero(cosines < SAME)
    return SameStudent(
        rows=len(kept),
        same=len(kept) - len(other),
        median=float(np.median(cosines)),
        first_other=ids[kept[other[0]]] if len(other) else None,
    )
