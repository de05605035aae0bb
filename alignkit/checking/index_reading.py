"""Reads an index once from the first row to the last: which rows can be used, how long vectors are, and a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows, joined, picked, positions
from alignkit.indexes.usable import usable
from alignkit.progress import progress

SAMPLED_ROWS = 4096
UNIT_WITHIN = 0.01
_VALUES_AT_ONCE = 4_000_000


@dataclass
class Reading:
    """What one pass over an index found.

    Attributes:
        rows: how many there are.
        faults: why a row cannot be used → how many, and the first.
        shortest: length of the shortest usable vector; infinity if there is none.
        longest: likewise.
        unit: how many vectors have length 1, within a hundredth.
        first_unit: the first of them.
        first_other: the first that has another length.
        sample: rows from all over the index, in its order, all with usable vectors.
    """

    rows: int = 0
    faults: dict[str, tuple[int, Id]] = field(default_factory=dict)
    shortest: float = np.inf
    longest: float = 0.0
    unit: int = 0
    first_unit: Id = None
    first_other: Id = None
    sample: IndexRows = field(default_factory=lambda: joined([]))

    @property
    def usable(self) -> int:
        """How many rows have a vector that can be used."""
        return self.rows - sum(count for count, _ in self.faults.values())


def read_whole(batches: Iterator[IndexRows], rows: int, seed: int = 0) -> Reading:
    """Look at every row, in bounded memory.

    Args:
        batches: all rows in the order of the index.
        rows: how many are expected.
        seed: of the sample.
    """
    chosen, found, parts = sampled_rows(rows, seed), Reading(), []
    with progress("index", "rows") as counted:
        counted.begin(rows)
        for batch in batches:
            here = chosen[(chosen >= found.rows) & (chosen < found.rows + len(batch))] - found.rows
            kept = [row for row in here.tolist() if row not in batch.faults]
            if kept:
                parts.append(picked(batch, kept))
            _measure(found, batch)
            found.rows += len(batch)
            counted.advance(len(batch))
    found.sample = joined(parts)
    return found


def sampled_rows(rows: int, seed: int = 0) -> np.ndarray:
    """Which of so many rows are kept, ascending; those among them whose vectors cannot be used are not."""
    return positions(rows, SAMPLED_ROWS, seed)


def batches_of_index(index: VectorIndex, dim: int) -> Iterator[IndexRows]:
    """The rows of an engine."""
    return index.scan(batch=max(1, min(4096, _VALUES_AT_ONCE // dim)))


def batches_of_file(vectors: np.ndarray, texts: Mapping[int, str] | None) -> Iterator[IndexRows]:
    """The rows of a file of vectors `(N, D)`, by their numbers; `texts` are those of `sampled_rows`."""
    size = max(1, _VALUES_AT_ONCE // vectors.shape[1])
    for start in range(0, len(vectors), size):
        block, faults = usable(np.array(vectors[start : start + size], np.float32))
        ids = list(range(start, start + len(block)))
        own = None if texts is None else [texts.get(row, "") for row in ids]
        yield IndexRows(ids, block, own, [{}] * len(block), faults=faults)


def _measure(found: Reading, batch: IndexRows) -> None:
    for row, why in batch.faults.items():
        count, first = found.faults.get(why, (0, batch.ids[row]))
        found.faults[why] = (count + 1, first)
    rows = np.setdiff1d(np.arange(len(batch)), np.fromiter(batch.faults, np.int64, len(batch.faults)))
    if not len(rows):
        return
    lengths = np.linalg.norm(batch.vectors[rows].astype(np.float64), axis=1)
    found.shortest, found.longest = min(found.shortest, float(lengths.min())), max(found.longest, float(lengths.max()))
    is_unit = np.abs(lengths - 1) < UNIT_WITHIN
    if is_unit.any() and not found.unit:
        found.first_unit = batch.ids[rows[np.argmax(is_unit)]]
    if not is_unit.all() and found.first_other is None:
        found.first_other = batch.ids[rows[np.argmin(is_unit)]]
    found.unit += int(is_unit.sum())
