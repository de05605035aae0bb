"""Whose vectors lie in an index now: the student's, the teacher's, or both while it is being migrated."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from alignkit.errors import AlignkitError, DataError
from alignkit.indexes.base import IndexDescription, VectorIndex
from alignkit.indexes.query_lengths import QueryLength, query_length
from alignkit.indexes.stages import Stage

# a step of a migration is noticed so soon
LOOK_EVERY_S = 1.0


@dataclass(frozen=True)
class Spaces:
    """An open index, and what its vectors are.

    Attributes:
        index: that applications read, with every row.
        described: the same.
        stage: of a replacement of its vectors.
        teacher: the vectors in the teacher's space; `None` while there are none.
        student: those of the student; `None` where none are kept.
        length: of queries for `teacher`.
    """

    index: VectorIndex
    described: IndexDescription
    stage: Stage
    teacher: VectorIndex | None
    student: VectorIndex | None
    length: QueryLength = QueryLength()

    @property
    def half_moved(self) -> tuple[VectorIndex, VectorIndex] | None:
        """Old and new vectors, where applications still read the old ones."""
        if self.stage != "begun" or self.student is None or self.teacher is None:
            return None
        return self.student, self.teacher


class SpacesOf:
    """Keeps an index open for one thread, and notices when it was migrated, cut over or rolled back.

    A replacement by this head tells which vectors are whose. Else their width does; where both models have the same
    one, an index that nobody has migrated is taken for the teacher's.

    Args:
        open_index: opens it again.
        head: SHA-256 of the head's weights, as the note of a migration has it.
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
    """

    def __init__(self, open_index: Callable[[], VectorIndex], head: str, student_dim: int, teacher_dim: int) -> None:
        self._open_index, self._head = open_index, head
        self._student_dim, self._teacher_dim = student_dim, teacher_dim
        self._spaces: Spaces | None = None
        self._looked = 0.0

    def now(self) -> Spaces:
        """As it is, or was a second ago.

        Raises:
            DataError: if the vectors fit neither model.
            EngineError: if the engine cannot be asked.
        """
        spaces = self._spaces
        same_width = self._student_dim == self._teacher_dim
        # of another width the engine would refuse the query; here it would answer, and be wrong
        due = LOOK_EVERY_S if spaces is None or spaces.stage == "untouched" or not same_width else 0.0
        if spaces is not None and time.monotonic() - self._looked < due:
            return spaces
        return self.look()

    def look(self) -> Spaces:
        """As it is now; see `now`."""
        spaces, waited = self._spaces, time.monotonic() - self._looked >= LOOK_EVERY_S
        try:
            # of a migration that has just begun neither note nor vectors may be there yet
            pending = spaces is not None and spaces.stage == "begun" and spaces.half_moved is None and waited
            if spaces is None or pending or _stage(spaces.index) != spaces.stage:
                self.close()
                spaces = self._spaces = self._opened()
        except AlignkitError:
            self.close()
            raise
        self._looked = time.monotonic()
        return spaces

    def close(self) -> None:
        """Close it; `now` opens it again."""
        if self._spaces is not None:
            opened = (self._spaces.index, self._spaces.teacher, self._spaces.student)
            for one in {id(index): index for index in opened if index is not None}.values():
                with suppress(AlignkitError, OSError):
                    one.close()
        self._spaces = None

    def _opened(self) -> Spaces:
        index = self._open_index()
        try:
            return self._spaces_of(index)
        except BaseException:
            index.close()
            raise

    def _spaces_of(self, index: VectorIndex) -> Spaces:
        described, stage = index.describe(), _stage(index)
        if stage != "untouched" and (index.replacement().note() or {}).get("head") == self._head:
            other = _other(index)
            teacher, student = (index, other) if stage == "cut over" else (other, index)
            # vectors that a head has made have length 1
            return Spaces(index, described, stage, teacher, student)
        if described.dim == self._teacher_dim:
            return Spaces(index, described, stage, index, None, query_length(index))
        if described.dim == self._student_dim:
            return Spaces(index, described, stage, None, index)
        raise DataError(
            f"{described.place}: holds {described.dim}-d vectors; this head maps {self._student_dim}-d vectors to "
            f"{self._teacher_dim}-d, so neither its student nor its teacher made this index"
        )


def _other(index: VectorIndex) -> VectorIndex | None:
    """The vectors that are not in use; `None` where an engine cannot read them before its copy is done."""
    try:
        return index.replacement().other()
    except DataError:
        return None


def _stage(index: VectorIndex) -> Stage:
    try:
        return index.replacement().stage()
    except DataError:  # what cannot be replaced, such as a folder of files
        return "untouched"
