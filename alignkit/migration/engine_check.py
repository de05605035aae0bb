"""New vectors beside the old ones, read back before anybody searches them: does each row have the head's?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import DataError
from alignkit.indexes.base import Replacement, VectorIndex
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import Id, IndexRows, picked
from alignkit.indexes.stages import expect_begun
from alignkit.migration.engine_copy import count_missing, expect_fit, map_rows
from alignkit.migration.engine_notes import expect_same, keep, note_for, now, read_note

READ_BACK = 1_000
# cosine of a stored vector with the one that the head gives now: half precision and another machine change it less
SAME = 0.9999


@dataclass(frozen=True)
class Verified:
    """What reading the new vectors back showed; see `verify_copy`.

    Attributes:
        rows: of the index.
        read_back: rows that were compared with the head.
        smallest_cosine: of a stored vector with the head's.
        faults: of the rows that were read, those without a usable old vector.
    """

    rows: int
    read_back: int
    smallest_cosine: float
    faults: int


def verify_copy(
    index: VectorIndex, artifact: Artifact, role: Role, seed: int = 0, into: Replacement | None = None
) -> Verified:
    """Count the rows that have no new vector, and hold a sample of the others against the head; texts and ids too.

    Works before `cut_over` and after it. If all is well, the engine keeps that.

    Raises:
        DataError: if rows lack their vector, or hold another than the head's.
        ConfigError: if another head made the vectors.
    """
    note, replacement = note_for(artifact, role), into or index.replacement()
    stage = replacement.stage()
    expect_begun(stage, "verify")
    expect_same(kept := read_note(replacement), note)
    if stage == "begun":
        if missing := count_missing(replacement):
            raise DataError(f"{missing:,} rows have no new vector yet; write them with step=copy, then verify again")
        if surplus := replacement.surplus():
            raise DataError(
                f"{surplus:,} rows were deleted since their new vectors were written; run step=copy, then verify again"
            )
    with old_and_new(index, replacement) as (old, new):
        expect_fit(old.describe(), artifact)
        rows = old.sample(READ_BACK, seed)
        before = picked(rows, [row for row in range(len(rows)) if row not in rows.faults])
        wanted = before.ids
        before, after = rows_of_both(before, new)
        if stage == "begun" and replacement.elsewhere:
            _expect_all_there(wanted, before.ids)
        cosines = (map_rows(before, artifact, role) * unit_rows(after.vectors)).sum(axis=1)
        _expect_same_vectors(before, cosines)
        _expect_same_texts(before, after)
        count = index.describe().rows
    keep(replacement, replace(kept or note, verified=now()))
    return Verified(count, len(before), float(cosines.min(initial=1)), len(rows.faults))


@contextmanager
def old_and_new(index: VectorIndex, replacement: Replacement) -> Iterator[tuple[VectorIndex, VectorIndex]]:
    """The old vectors and the new ones, whichever of them are in use."""
    swapped = replacement.stage() == "cut over" and not replacement.elsewhere
    with replacement.other() as other:
        yield (other, index) if swapped else (index, other)


def rows_of_both(before: IndexRows, new: VectorIndex) -> tuple[IndexRows, IndexRows]:
    """Rows that have a usable vector on both sides, in one order; those deleted since are left out."""
    after = new.fetch(before.ids)
    # another engine may have another type for the same id
    place = {str(one): row for row, one in enumerate(before.ids)}
    good = [row for row in range(len(after)) if row not in after.faults]
    return picked(before, [place[str(after.ids[row])] for row in good]), picked(after, good)


def _expect_all_there(wanted: Sequence[Id], found: Sequence[Id]) -> None:
    there = set(found)
    if lost := [one for one in wanted if one not in there]:
        raise DataError(
            f"{len(lost):,} of {len(wanted):,} rows that were read back have no usable new vector (the first: "
            f"{lost[0]}), although one was written; has another program changed them? Delete the new vectors with "
            "step=give_up, and copy again"
        )


def _expect_same_vectors(rows: IndexRows, cosines: np.ndarray) -> None:
    other = np.flatnonzero(~(cosines >= SAME))
    if len(other):
        raise DataError(
            f"{len(other):,} of {len(rows):,} rows that were read back do not hold the vector that this head makes of "
            f"their old one (the first: {rows.ids[other[0]]}, cosine {cosines[other[0]]:.4f}); were they changed while "
            "they were copied? Delete the new vectors with step=give_up, and copy again"
        )


def _expect_same_texts(before: IndexRows, after: IndexRows) -> None:
    old, new = before.texts or (), after.texts or ()
    other: Sequence[int] = [row for row, (one, two) in enumerate(zip(old, new, strict=False)) if one != two]
    if other:
        raise DataError(
            f"{len(other):,} of {len(before):,} rows that were read back have another text beside their new vector "
            f"(the first: {before.ids[other[0]]}); were they changed while they were copied? Delete the new vectors "
            "with step=give_up, and copy again"
        )
