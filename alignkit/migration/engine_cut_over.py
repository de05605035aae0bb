"""Puts new vectors in use, with the rows that came since the copy."""

from __future__ import annotations

import numpy as np

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows
from alignkit.indexes.replacement import CutOver, Replacement
from alignkit.migration.engine_copy import STRAGGLERS, expect_fit, map_rows
from alignkit.migration.engine_notes import expect_looked_at, expect_same, note_for, read_note


def cut_over_rows(
    index: VectorIndex,
    artifact: Artifact | None,
    role: Role,
    *,
    force: bool,
    into: Replacement[VectorIndex] | None = None,
) -> CutOver:
    """Put the new vectors in use, if they were looked at.

    Args:
        index: as in `copy_rows`.
        artifact: the head, for an index that others write to all the time: rows that came or changed since the copy get
            their vectors first, the last of them while nobody can write, where the engine can do that. `None` refuses
            to cut over while there are such rows.
        role: of the rows.
        force: also if nobody has looked at them, rows are left without one, or many came.
        into: as in `plan_copy`.

    Raises:
        ConfigError: if nobody has looked at them, or another head made them.
        DataError: if there is nothing to cut over, or too many rows have no new vector.
        EngineError: if the engine refuses.
    """
    replacement = into or index.replacement()
    if replacement.stage() != "begun":
        return replacement.cut_over(force)  # which says why not
    expect_looked_at(kept := read_note(replacement), force)
    if artifact is None:
        return replacement.cut_over(force)
    expect_same(kept, note_for(artifact, role))
    expect_fit(described := index.describe(), artifact)
    return replacement.cut_over(force, _Few(artifact, role, None if force else int(STRAGGLERS * described.rows)))


class _Few:
    """Makes new vectors of some rows and no more: what was found out by looking at the others would not hold."""

    def __init__(self, artifact: Artifact, role: Role, most: int | None) -> None:
        self.artifact, self.role, self.most = artifact, role, most
        # one that had to be mapped again is the same row
        self.seen: set[str] = set()

    def __call__(self, rows: IndexRows) -> np.ndarray:
        self.seen.update(str(one) for row, one in enumerate(rows.ids) if row not in rows.faults)
        if self.most is not None and len(self.seen) > self.most:
            raise DataError(
                f"more than {self.most:,} rows have no new vector; write them with step=copy, then verify and compare "
                "again, or cut over with force=true"
            )
        return map_rows(rows, self.artifact, self.role)
