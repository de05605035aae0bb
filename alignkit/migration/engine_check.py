"""New vectors beside the old ones, read back before anybody searches them: does each row have the head's?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import picked
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.stages import expect_begun
from alignkit.migration.engine_copy import BATCH, came_since, count_missing, expect_fit
from alignkit.migration.engine_notes import expect_same, keep, note_for, now, read_note
from alignkit.migration.read_back import read_back

READ_BACK = 1_000


@dataclass(frozen=True)
class Verified:
    """What reading the new vectors back showed; see `verify_copy`.

    Attributes:
        rows: of the index.
        read_back: rows that were compared with the head.
        since: rows that came or changed after the copy, and have no new vector yet.
        smallest_cosine: of a stored vector with the head's.
        faults: of the rows that were read, those without a usable old vector.
    """

    rows: int
    read_back: int
    since: int
    smallest_cosine: float
    faults: int


def verify_copy(
    index: VectorIndex, artifact: Artifact, role: Role, seed: int = 0, into: Replacement[VectorIndex] | None = None
) -> Verified:
    """Count the rows that have no new vector, and hold a sample of the others against the head; texts and ids too.

    Works before `cut_over` and after it, and while others write: the few rows that came or changed since the copy may
    lack their vector. If all is well, the engine keeps that.

    Raises:
        DataError: if rows lack their vector, or hold another than the head's.
        ConfigError: if another head made the vectors.
    """
    note, replacement = note_for(artifact, role), into or index.replacement()
    stage = replacement.stage()
    expect_begun(stage, "verify")
    expect_same(kept := read_note(replacement), note)
    count, since = index.describe().rows, 0
    if stage == "begun":
        since, surplus = count_missing(replacement), replacement.surplus()
        if since and not came_since(kept, since, count):
            raise DataError(f"{since:,} rows have no new vector yet; write them with step=copy, then verify again")
        if surplus and not came_since(kept, surplus, count):
            raise DataError(
                f"{surplus:,} rows were deleted since their new vectors were written; run step=copy, then verify again"
            )
    with old_and_new(index, replacement) as (old, new):
        expect_fit(old.describe(), artifact)
        rows = old.sample(READ_BACK, seed)
        usable = picked(rows, [row for row in range(len(rows)) if row not in rows.faults])

        def behind() -> set[str]:
            return {str(one) for part in replacement.missing(BATCH) for one in part.ids} if stage == "begun" else set()

        whole = stage == "begun" and replacement.elsewhere
        read, smallest = read_back(usable, old, new, artifact, role, behind, all_there=whole)
    keep(replacement, replace(kept or note, verified=now()))
    return Verified(count, read, since, smallest, len(rows.faults))


@contextmanager
def old_and_new(index: VectorIndex, replacement: Replacement[VectorIndex]) -> Iterator[tuple[VectorIndex, VectorIndex]]:
    """The old vectors and the new ones, whichever of them are in use."""
    swapped = replacement.stage() == "cut over" and not replacement.elsewhere
    with replacement.other() as other:
        yield (other, index) if swapped else (index, other)
