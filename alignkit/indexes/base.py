"""What every engine that holds a user's vectors promises.

Each file of this room is one engine and one YAML in `conf/index/`. An index is a context manager and only reads; what
writes is its `Replacement`.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np

from alignkit.indexes.filters import Filter
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, Stretch, joined, picked, positions
from alignkit.indexes.stages import Stage, expect, expect_begun, expect_not_in_use, expect_room

Metric = Literal["cosine", "dot", "l2"]
Note = dict[str, Any]
# new vectors `(N, dim)` for N rows, position i for row i
Mapped = Callable[[IndexRows], np.ndarray]
# passes over an index that others write to meanwhile
_PASSES = 10


@dataclass(frozen=True)
class IndexDescription:
    """What an index holds.

    Attributes:
        rows: N, rows without a usable vector included.
        dim: D of the vectors.
        dtype: of the stored numbers, `float32` or `float16` for instance.
        metric: that the engine searches by; `None` where it has none.
        fields: names of the other fields of a row, texts and ids included.
        place: what a user would call it, without secrets: `table docs, column embedding`.
        normalizes: whether the engine scales vectors to length 1 when it stores them.
    """

    rows: int
    dim: int
    dtype: str
    metric: Metric | None
    fields: tuple[str, ...]
    place: str
    normalizes: bool = False


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


class VectorIndex(abc.ABC):
    """An index of N rows, each with an id, a vector, and perhaps a text and payload; for one thread at a time.

    Of an engine that has payload, `payload=["*"]` reads all fields but the id, the text and vectors.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *problem: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - most engines have something to close, not all
        """Let go of the connection or the file."""

    @property
    def parallel(self) -> bool:
        """Whether it may be opened once for each of several threads, without holding its rows as often."""
        return False

    @property
    def read_together(self) -> bool:
        """Whether several processes may read it at the same time, none of which holds all of it."""
        return self.parallel

    def hurry(self) -> None:  # noqa: B027 - most engines have no server
        """Let calls fail at once while the engine's server is away, for who has clients that wait."""

    @abc.abstractmethod
    def describe(self) -> IndexDescription:
        """What the index holds now."""

    @abc.abstractmethod
    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """All rows in a fixed order, in bounded memory.

        Rows that are inserted meanwhile may appear or not; a row that was there throughout appears once.

        Args:
            after: the cursor of an earlier batch, of this process or another; `None` begins at the first row.
            batch: at most so many rows at once.
        """

    @abc.abstractmethod
    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """The rows of these ids, in their order; ids that the index does not hold are left out.

        An id of another type with the same text is the same id: rows that came from another engine are asked for so.
        """

    @abc.abstractmethod
    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """The engine's own search, with whatever its index loses.

        Args:
            vectors: `(Q, D)`.
            k: hits.
            where: only rows that pass are searched, so that `k` hits come back where as many pass; see
                `conditions_of`.

        Returns:
            The ids of each query's hits, best first, and their scores `(Q, k)` float32, the higher the better: the
            cosine, the dot product or minus the distance; `-inf` where there are fewer than `k` hits.

        Raises:
            DataError: if the vectors do not fit.
            FilterError: if `where` names a field that the index does not have, or compares it with what it cannot be.
        """

    @abc.abstractmethod
    def replacement(self) -> Replacement:
        """New vectors for the same rows, beside those that are there."""

    def sample(self, count: int, seed: int) -> IndexRows:
        """Rows spread over the whole index: one drawn from each of `count` stretches of `scan`'s order.

        Args:
            count: how many; all rows if there are no more.
            seed: of the draw.
        """
        chosen = positions(self.describe().rows, count, seed)
        parts, first = [], 0
        for rows in self.scan():
            wanted = chosen[(chosen >= first) & (chosen < first + len(rows))] - first
            if len(wanted):
                parts.append(picked(rows, wanted.tolist()))
            first += len(rows)
            if first > chosen[-1]:
                break
        return joined(parts)

    def stretches(self, rows: int) -> Iterator[Stretch]:
        """The whole index in stretches of about so many rows, for several readers."""
        after, count = None, 0
        for until, more in self._marks(rows):
            count += more
            if count >= rows:
                yield Stretch(after, until, count)
                after, count = until, 0
        if count:
            yield Stretch(after, until, count)

    def within(self, stretch: Stretch | None, batch: int = 4096) -> Iterator[IndexRows]:
        """The rows of one stretch, or all; where rows came since it was cut, the last ones may be left out."""
        if stretch is None:
            yield from self.scan(batch=batch)
            return
        after, left = stretch.after, stretch.rows
        while left > 0:
            for rows in self.scan(after, min(batch, left)):
                if len(rows) > left:  # a cursor is that of a whole batch
                    break
                yield rows
                after, left = rows.cursor, left - len(rows)
                if not left:
                    return
            else:
                return

    def _marks(self, rows: int) -> Iterator[tuple[Cursor, int]]:
        """Cursors in `scan`'s order, at most so many rows apart, and how many; an engine may read ids alone."""
        for found in self.scan(batch=min(rows, 4096)):
            yield found.cursor, len(found)


class Replacement(abc.ABC):
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

    def other(self) -> VectorIndex:
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
    def _other(self, stage: Stage) -> VectorIndex: ...

    @abc.abstractmethod
    def _read_note(self, stage: Stage) -> Note | None: ...

    @abc.abstractmethod
    def _keep_note(self, note: Note, stage: Stage) -> None: ...
