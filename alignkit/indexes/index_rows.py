"""Rows of an index, some at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Cursor = Any
Id = Any
# as Python writes them, so that "007" is none
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}")


@dataclass(frozen=True)
class Stretch:
    """A range of an index's rows in `scan`'s order; both cursors are JSON-able.

    Attributes:
        after: begins behind this row; `None` at the first one.
        until: ends with this row.
        rows: between them, when it was cut.
    """

    after: Cursor
    until: Cursor
    rows: int


@dataclass(frozen=True)
class IndexRows:
    """Some rows of an index; position i of every field is the same row.

    Attributes:
        ids: N ids, as the engine has them: integers, strings, UUIDs.
        vectors: `(N, D)` float32. A row is NaN exactly where `faults` names it.
        texts: N texts, `""` where a row has none; `None` if the index was opened without a field of texts.
        payload: N dictionaries of the asked fields; empty ones where none were asked.
        cursor: JSON-able; `scan(after=cursor)` goes on behind the last of these rows.
        faults: position → why this row has no usable vector: missing, not finite, zero, or of another width.
        versions: for `Replacement.write`, by which an engine knows a row that has changed since; `None` where it has
            none.
    """

    ids: list[Id]
    vectors: np.ndarray
    texts: list[str] | None
    payload: list[dict[str, Any]]
    cursor: Cursor = None
    faults: dict[int, str] = field(default_factory=dict)
    versions: list[Any] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def positions(rows: int, count: int, seed: int) -> np.ndarray:
    """Ascending distinct positions below `rows`, one drawn from each of `count` equal stretches; at least one.

    >>> positions(1000, 4, 0) // 250
    array([0, 1, 2, 3])
    >>> positions(3, 10, 0)
    array([0, 1, 2])
    """
    if count >= rows:
        return np.arange(max(rows, 1))
    edges = np.linspace(0, rows, count + 1).astype(np.int64)
    return edges[:-1] + (np.random.default_rng(seed).random(count) * np.diff(edges)).astype(np.int64)


def picked(rows: IndexRows, wanted: Sequence[int]) -> IndexRows:
    """Some of the rows, in the given order."""
    return IndexRows(
        ids=[rows.ids[row] for row in wanted],
        vectors=rows.vectors[list(wanted)],
        texts=None if rows.texts is None else [rows.texts[row] for row in wanted],
        payload=[rows.payload[row] for row in wanted],
        cursor=rows.cursor,
        faults={place: rows.faults[row] for place, row in enumerate(wanted) if row in rows.faults},
        versions=None if rows.versions is None else [rows.versions[row] for row in wanted],
    )


def in_order(rows: IndexRows, ids: Sequence[Id]) -> IndexRows:
    """Those of the rows that are asked for, in the order of the ids, each told by its text."""
    place = {str(one): row for row, one in reversed(list(enumerate(rows.ids)))}
    return picked(rows, [place[str(one)] for one in ids if str(one) in place])


def is_whole(one: Id) -> bool:
    """Whether an id is a whole number of 64 bits; true and false are none."""
    return isinstance(one, int) and not isinstance(one, bool) and -(2**63) <= one < 2**63


def whole_ids(ids: Sequence[Id]) -> list[int]:
    """Those of the ids whose texts are whole numbers of 64 bits, as numbers.

    >>> whole_ids([7, "-3", "007", "a", True, None, 2**63])
    [7, -3]
    """
    return [number for one in map(str, ids) if _WHOLE.fullmatch(one) and is_whole(number := int(one))]


def joined(parts: Sequence[IndexRows]) -> IndexRows:
    """Rows of several batches, one after the other; the cursor is the last one's."""
    if not parts:
        return IndexRows([], np.empty((0, 0), np.float32), None, [])
    starts = np.cumsum([0, *(len(part) for part in parts)]).tolist()
    return IndexRows(
        ids=[one for part in parts for one in part.ids],
        vectors=np.concatenate([part.vectors for part in parts]),
        texts=None if parts[0].texts is None else [text for part in parts for text in part.texts or ()],
        payload=[one for part in parts for one in part.payload],
        cursor=parts[-1].cursor,
        faults={
            start + row: why for start, part in zip(starts, parts, strict=False) for row, why in part.faults.items()
        },
    )
