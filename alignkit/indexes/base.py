"""What every engine that holds a user's vectors promises.

Each file of this room is one engine and one YAML in `conf/index/`. An index is a context manager and only reads; what
writes is its `Replacement`, in `replacement.py`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np

from alignkit.indexes.filters import Filter
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, Stretch, joined, picked, positions
from alignkit.indexes.replacement import Replacement

Metric = Literal["cosine", "dot", "l2"]


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
    def replacement(self) -> Replacement[VectorIndex]:
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
