"""What every engine promises of new vectors for its rows: written beside the old ones, put in their place, and back."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from alignkit.indexes.index_rows import IndexRows, Stretch
from alignkit.indexes.stages import Stage, expect, expect_begun, expect_not_in_use, expect_room

# the kind of index that the vectors not in use are read as
Index = TypeVar("Index")
Note = dict[str, Any]
# new vectors `(N, dim)` for N rows, position i for row i
Mapped = Callable[[IndexRows], np.ndarray]
# passes over an index that others write to meanwhile
_PASSES = 10


@dataclass(frozen=True)
class CutOver:
    """What the last moments before a cut-over brought.

    Attributes:
        caught_up: rows that had come or changed since, and got their new vector.
        held_up: of these, how many while nobody could write; `None` where the engine holds nobody up.
        held_ms: for how long that was.
    """

    caught_up: int
    held_up: int | None = None
    held_ms: float = 0.0


class Replacement(abc.ABC, Generic[Index]):
    """New vectors for the rows of an index: written beside the old ones, put in their place, and back.

    All state lies in the engine, so that any step can be killed and called again, from another machine too. Until
    `cut_over` nothing that reads the index sees a difference; until `drop_old` it can be undone.

    Which step comes when is the same in every engine, and is checked here; an engine does the step.

    Attributes:
        elsewhere: whether the new vectors lie in an index of their own, so that this one keeps the old ones for good.
    """

    elsewhere = False

    @abc.abstractmethod
    def way(self, dim: int) -> str:
        """What the engine does for vectors of this width, in a sentence for the user."""

    @abc.abstractmethod
    def stage(self) -> Stage:
        """How far it is: nothing is there, new vectors lie beside the old ones, or old ones beside the new."""

    def begin(self, dim: int) -> None:
        """Make room for vectors of this width; if that is done already, nothing changes.

        Raises:
            DataError: if a replacement of another width has begun, or the last one was cut over and is still kept.
        """
        expect_room(self.stage())
        self._begin(dim)

    @property
    def written_together(self) -> bool:
        """Whether several processes may write at the same time."""
        return False

    @abc.abstractmethod
    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """The rows that have no new vector yet, as `scan` gives them; the class says which later changes it notices.

        Args:
            batch: at most so many rows at once.
            within: only of this stretch, for one of several processes; then all its rows may be given.
        """

    @abc.abstractmethod
    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """Store the new vectors of some rows, all or none; of rows that have one, it is replaced.

        Args:
            rows: as `missing` or `scan` gave them; those with a fault are passed over.
            vectors: `(N, dim)`, position i for row i.

        Returns:
            How many were stored: rows that were deleted since are not, nor those that the engine knows to have changed.
        """

    def surplus(self) -> int:
        """How many rows have a new vector and are no longer in the index; 0 where the engine deletes both at once."""
        return 0

    def prune(self) -> int:
        """Delete the new vectors of such rows; returns how many."""
        return 0

    @abc.abstractmethod
    def build_index(self) -> str:
        """Make the new vectors searchable as the old ones are; returns what was built, in a few words."""

    def cut_over(self, force: bool = False, mapped: Mapped | None = None) -> CutOver:
        """Put the new vectors in the place of the old ones, which are kept.

        Args:
            force: also if some rows have no new vector, or something else would be wrong afterwards.
            mapped: makes new vectors for rows that have none yet, of an index that others write to all the time; `None`
                leaves such rows as they are.

        Raises:
            DataError: if there is something wrong and `force` is not given, or nothing to cut over.
        """
        expect(self.stage(), "begun", "cut over")
        return self._catch_up_and_cut_over(force, mapped)

    def roll_back(self) -> None:
        """Undo `cut_over`; the new vectors are kept beside the old ones again.

        Raises:
            DataError: if nothing was cut over, or the old vectors were dropped.
        """
        expect(self.stage(), "cut over", "roll back")
        self._roll_back()

    def drop_old(self) -> None:
        """Delete the old vectors after a `cut_over`; nothing can be rolled back then.

        Raises:
            DataError: if nothing was cut over.
        """
        expect(self.stage(), "cut over", "drop the old vectors")
        self._drop_old()

    def give_up(self) -> None:
        """Delete the new vectors before a `cut_over`, or after a `roll_back`.

        Raises:
            DataError: if they are in use.
        """
        expect_not_in_use(self.stage())
        self._give_up()

    def other(self) -> Index:
        """The vectors that are not in use, as an index to be closed: the new ones, or after `cut_over` the old ones.

        Those that lie elsewhere are given after `cut_over` too.

        Raises:
            DataError: if there are none, or `build_index` has not made them readable yet.
        """
        stage = self.stage()
        expect_begun(stage, "read the vectors that are not in use")
        return self._other(stage)

    def note(self) -> Note | None:
        """What `keep_note` left in the engine about the new vectors, in use or not; `None` for nothing."""
        stage = self.stage()
        return None if stage == "untouched" else self._read_note(stage)

    def keep_note(self, note: Note) -> None:
        """Leave a few JSON values beside the new vectors, in place of earlier ones; deleted with `give_up`.

        Raises:
            DataError: if no replacement has begun.
        """
        stage = self.stage()
        expect_begun(stage, "keep a note")
        self._keep_note(note, stage)

    def _catch_up_and_cut_over(self, force: bool, mapped: Mapped | None) -> CutOver:
        """An engine that can hold writers up for a moment does better: here a row may still come in between."""
        caught_up = 0
        for _ in range(_PASSES if mapped else 0):
            now = sum(self.write(rows, mapped(rows)) for rows in self.missing()) if mapped else 0
            caught_up += now
            if not now:
                break
        if mapped and self.prune() + caught_up:
            self.build_index()
        self._cut_over(force)
        return CutOver(caught_up)

    @abc.abstractmethod
    def _begin(self, dim: int) -> None: ...

    @abc.abstractmethod
    def _cut_over(self, force: bool) -> None: ...

    @abc.abstractmethod
    def _roll_back(self) -> None: ...

    @abc.abstractmethod
    def _drop_old(self) -> None: ...

    @abc.abstractmethod
    def _give_up(self) -> None: ...

    @abc.abstractmethod
    def _other(self, stage: Stage) -> Index: ...

    @abc.abstractmethod
    def _read_note(self, stage: Stage) -> Note | None: ...

    @abc.abstractmethod
    def _keep_note(self, note: Note, stage: Stage) -> None: ...
