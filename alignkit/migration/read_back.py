"""Rows read in old and new while others may change them: do they hold what the head makes, and the same texts?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import Id, IndexRows, picked
from alignkit.migration.engine_copy import map_rows

# cosine of a stored vector with the one that the head gives now: half precision and another machine change it less
SAME = 0.9999
# a row that differs is read again: somebody may have changed it between the two reads
_READS = 3


@dataclass(frozen=True)
class _Read:
    """What one reading of some rows showed.

    Attributes:
        rows: that have a usable vector on both sides.
        cosines: of the new vectors with the head's, for those that agree.
        lost: rows without a usable new vector.
        other: rows with another vector than the head's, and its cosine.
        texts: rows with another text beside the new vector.
    """

    rows: int
    cosines: np.ndarray
    lost: list[Id]
    other: dict[Id, float]
    texts: list[Id]

    @property
    def at_fault(self) -> list[Id]:
        return list(dict.fromkeys([*self.lost, *self.other, *self.texts]))


def read_back(
    rows: IndexRows,
    old: VectorIndex,
    new: VectorIndex,
    artifact: Artifact,
    role: Role,
    behind: Callable[[], set[str]],
    *,
    all_there: bool,
) -> tuple[int, float]:
    """Hold the new vectors of these rows against the head's, and the texts beside them against the old ones.

    Args:
        rows: of the old index, all with a usable vector.
        old: the old index.
        new: the new one.
        artifact: the head.
        role: of the rows.
        behind: ids, as text, of the rows that have changed since they were copied; only asked where a row differs.
        all_there: whether each row must have a new vector; else those without one are left out.

    Returns:
        How many rows have both vectors, and the smallest cosine.

    Raises:
        DataError: if a row differs and was not changed meanwhile.
    """
    first = last = _read(rows, new, artifact, role, all_there=all_there)
    for _ in range(_READS - 1):
        if not last.at_fault:
            break
        late = behind()
        again = old.fetch([one for one in last.at_fault if str(one) not in late])
        again = picked(again, [row for row in range(len(again)) if row not in again.faults])
        last = _read(again, new, artifact, role, all_there=all_there)
    _expect_none(last, len(rows) if last.lost else first.rows)
    return first.rows, float(first.cosines.min(initial=1))


def rows_of_both(before: IndexRows, new: VectorIndex) -> tuple[IndexRows, IndexRows]:
    """Rows that have a usable vector on both sides, in one order; those deleted since are left out."""
    after = new.fetch(before.ids)
    # another engine may have another type for the same id
    place = {str(one): row for row, one in enumerate(before.ids)}
    good = [row for row in range(len(after)) if row not in after.faults]
    return picked(before, [place[str(after.ids[row])] for row in good]), picked(after, good)


def _read(rows: IndexRows, new: VectorIndex, artifact: Artifact, role: Role, *, all_there: bool) -> _Read:
    before, after = rows_of_both(rows, new)
    there = set(before.ids)
    cosines = (map_rows(before, artifact, role) * unit_rows(after.vectors)).sum(axis=1)
    agree = cosines >= SAME
    old, made = before.texts or (), after.texts or ()
    return _Read(
        len(before),
        cosines[agree],
        [one for one in rows.ids if one not in there] if all_there else [],
        {before.ids[row]: float(cosines[row]) for row in np.flatnonzero(~agree).tolist()},
        [before.ids[row] for row, (one, two) in enumerate(zip(old, made, strict=False)) if one != two],
    )


def _expect_none(read: _Read, rows: int) -> None:
    if read.lost:
        raise _differ(
            read.lost,
            f"of {rows:,} rows that were read back have no usable new vector (the first: {read.lost[0]}), although "
            "one was written; has another program changed them?",
        )
    if read.other:
        one, cosine = next(iter(read.other.items()))
        raise _differ(
            list(read.other),
            f"of {rows:,} rows that were read back do not hold the vector that this head makes of their old one (the "
            f"first: {one}, cosine {cosine:.4f}); were they changed while they were copied?",
        )
    if read.texts:
        raise _differ(
            read.texts,
            f"of {rows:,} rows that were read back have another text beside their new vector (the first: "
            f"{read.texts[0]}); were they changed while they were copied?",
        )


def _differ(ids: Sequence[Id], said: str) -> DataError:
    return DataError(f"{len(ids):,} {said} Delete the new vectors with step=give_up, and copy again")
