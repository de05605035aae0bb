"""New vectors in a collection of their own, in engines that give collections other names."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.elsewhere import Elsewhere
from alignkit.indexes.index_rows import IndexRows, Stretch
from alignkit.indexes.new_index import NewIndex
from alignkit.indexes.replacement import Note, Replacement
from alignkit.indexes.replacing import NEW, OLD, beside, expect_all
from alignkit.indexes.stages import Stage


class CollectionReplacement(Replacement[VectorIndex]):
    """A collection that gets every row whole, as if it lay in another engine, and then the old one's name.

    Rows that are inserted, changed or deleted meanwhile are caught up, by a version of each row that the new collection
    keeps until `drop_old`. Rows that applications write into the new collection before that are kept.

    Args:
        name: that applications read.
        whole: opens the index with all its texts and payload.
        opened: another collection as an index.
        reopen: reads the index's parameters again.
    """

    def __init__(
        self,
        name: str,
        whole: Callable[[], VectorIndex],
        opened: Callable[[str], VectorIndex],
        reopen: Callable[[], None],
    ) -> None:
        self.name, self.new, self.old = name, beside(name, NEW), beside(name, OLD)
        self._whole, self._opened, self._reopen = whole, opened, reopen
        self._filling: Elsewhere | None = None

    @abc.abstractmethod
    def new_index(self, name: str) -> NewIndex:
        """The collection of that name as one that is being filled: like the old one, but for its vectors."""

    @abc.abstractmethod
    def names(self) -> set[str]:
        """Those that there are."""

    @abc.abstractmethod
    def turn(self, coming: str, going: str) -> None:
        """The name goes to the collection called `coming`, and `going` to the one that had it."""

    @abc.abstractmethod
    def drop(self, name: str) -> None:
        """Delete a collection, and what belongs to it."""

    def stage(self) -> Stage:
        """See `Replacement`."""
        names = self.names()
        return "cut over" if self.old in names else "begun" if self.new in names else "untouched"

    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """See `Replacement`; reads the old collection whole."""
        if self.stage() == "begun":
            yield from self._moving().missing(batch, within)

    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`."""
        moving = self._moving()
        if rows.versions is None:  # read without all that is moved
            rows = moving.index.fetch(rows.ids)
        return moving.write(rows, vectors)

    def surplus(self) -> int:
        """See `Replacement`."""
        return self._moving().surplus() if self.stage() == "begun" else 0

    def prune(self) -> int:
        """See `Replacement`."""
        return self._moving().prune() if self.stage() == "begun" else 0

    def build_index(self) -> str:
        """See `Replacement`."""
        return self._moving().build_index()

    def _begin(self, dim: int) -> None:
        self._moving(anew=True).begin(dim)

    def _cut_over(self, force: bool) -> None:
        expect_all(sum(len(rows) - len(rows.faults) for rows in self.missing()), force)
        self.prune()
        self._turn(self.new, self.old)

    def _roll_back(self) -> None:
        self._turn(self.old, self.new)

    def _drop_old(self) -> None:
        self.new_index(self.name).finish()
        self.drop(self.old)
        self._reopen()

    def _give_up(self) -> None:
        if self.new in self.names():
            self.new_index(self.new).give_up()

    def _other(self, stage: Stage) -> VectorIndex:
        return self._opened(self.old if stage == "cut over" else self.new)

    def _read_note(self, stage: Stage) -> Note | None:
        try:
            return (self._made(stage).note() or {}).get("kept")
        except DataError:
            if stage != "cut over":
                raise
            return None  # `drop_old` was interrupted when it had forgotten the note

    def _keep_note(self, note: Note, stage: Stage) -> None:
        made = self._made(stage)
        made.keep_note({**(made.note() or {}), "kept": note})

    def _made(self, stage: Stage) -> NewIndex:
        return self.new_index(self.name if stage == "cut over" else self.new)

    def _turn(self, coming: str, going: str) -> None:
        self.turn(coming, going)
        self._filling = None
        self._reopen()

    def _moving(self, *, anew: bool = False) -> Elsewhere:
        if self._filling is None or anew:
            self._filling = Elsewhere(self._whole(), self.new_index(self.new))
        return self._filling
