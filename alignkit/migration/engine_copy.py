"""New vectors for the rows of an index, written beside the old ones by its engine: what it would take, and the copy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from alignkit.artifact import Artifact
from alignkit.embedders.base import Role
from alignkit.errors import DataError
from alignkit.indexes.base import IndexDescription, VectorIndex
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.index_rows import IndexRows
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.stages import expect_room
from alignkit.migration.engine_notes import MigrationNote, expect_same, keep, note_for, read_note
from alignkit.migration.engine_notes import now as timestamp

TRIAL_ROWS = 2_000
BATCH = 4096
# rows that come while others are copied; whoever writes faster than this copies would be followed without end
MOST_PASSES = 10
# the share of rows that may come or change after the others were verified and compared, by the same head
STRAGGLERS = 0.1


@dataclass(frozen=True)
class Plan:
    """What a migration would take.

    Attributes:
        index: as it is.
        dim: of the new vectors.
        new_bytes: that they take as float32, without an index over them.
        way: what the engine does.
        trial_rows: that were read and mapped, and not written.
        trial_s: the time that took.
        faults: id → why this row of the trial has no usable vector.
        lengths: the shortest and the longest of the old vectors; new ones have length 1.
    """

    index: IndexDescription
    dim: int
    new_bytes: int
    way: str
    trial_rows: int
    trial_s: float
    faults: dict[str, str]
    lengths: tuple[float, float]

    @property
    def least_s(self) -> float:
        """For reading and mapping all rows; writing comes on top."""
        return self.trial_s * self.index.rows / max(self.trial_rows, 1)


@dataclass(frozen=True)
class Copied:
    """What a copy did.

    Attributes:
        written: rows that got a new vector now.
        faults: rows without a usable vector, which keep none.
        first: id and fault of the first of them.
        pruned: new vectors that were deleted, as their rows are no longer in the index.
        built: the index over the new vectors, in words.
    """

    written: int
    faults: int
    first: tuple[str, str] | None
    pruned: int
    built: str


def expect_fit(index: IndexDescription, artifact: Artifact) -> None:
    """Refuse an index whose vectors the head cannot take.

    Raises:
        DataError: which names both widths.
    """
    if index.dim != artifact.student_dim:
        raise DataError(
            f"{index.place}: holds {index.dim}-d vectors, this head takes {artifact.student_dim}-d ones; give a head "
            "for the model that made the index"
        )


def plan_copy(index: VectorIndex, artifact: Artifact, role: Role, into: Replacement[VectorIndex] | None = None) -> Plan:
    """Read and map the first rows, and change nothing.

    Args:
        index: of the head's student.
        artifact: the head.
        role: of the rows.
        into: where the new vectors shall lie; `None` for beside the old ones, here as in the other steps.

    Raises:
        DataError: if the index does not fit the head, is empty, or the last migration is not finished.
    """
    replacement, described = into or index.replacement(), index.describe()
    expect_room(replacement.stage())
    expect_fit(described, artifact)
    expect_same(read_note(replacement), note_for(artifact, role))
    started = time.perf_counter()
    rows = next(index.scan(batch=TRIAL_ROWS), None)
    if rows is None:
        raise DataError(f"{described.place}: holds no rows")
    map_rows(rows, artifact, role)
    took = time.perf_counter() - started
    lengths = np.linalg.norm(np.delete(rows.vectors, list(rows.faults), axis=0), axis=1)
    return Plan(
        index=described,
        dim=artifact.teacher_dim,
        new_bytes=described.rows * artifact.teacher_dim * 4,
        way=replacement.way(artifact.teacher_dim),
        trial_rows=len(rows),
        trial_s=took,
        faults={str(rows.ids[row]): why for row, why in rows.faults.items()},
        lengths=(float(lengths.min(initial=np.inf)), float(lengths.max(initial=0))),
    )


def copy_rows(
    index: VectorIndex,
    artifact: Artifact,
    role: Role,
    on_rows: Callable[[int], None] = lambda count: None,
    into: Replacement[VectorIndex] | None = None,
) -> Copied:
    """Write the new vectors of all rows that have none, then make them searchable; goes on where it was interrupted.

    Rows that come or change meanwhile are caught up with in further passes, as far as the engine notices them.

    Args:
        index: of the head's student.
        artifact: the head.
        role: of the rows.
        on_rows: called with each further number of rows that were looked at.
        into: as in `plan_copy`.

    Raises:
        DataError: if the index does not fit the head, or the old vectors of the last migration are still kept.
        ConfigError: if another head has begun.
        EngineError: if the engine refuses; what is written stays, and the next copy goes on.
    """
    replacement = into or index.replacement()
    kept, described = note_begun(index, replacement, artifact, role), index.describe()
    written, faults, first = 0, 0, None
    for number in range(MOST_PASSES):
        now = 0
        for rows in replacement.missing(BATCH):
            if number == 0 and rows.faults:
                faults += len(rows.faults)
                row, why = next(iter(rows.faults.items()))
                first = first or (str(rows.ids[row]), why)
            if (kept.verified or kept.compared) and written + now + len(rows) > STRAGGLERS * described.rows:
                kept = keep(replacement, replace(kept, verified=None, compared=None))
            now += replacement.write(rows, map_rows(rows, artifact, role))
            on_rows(len(rows) if number == 0 else 0)
        written += now
        if now == 0:
            break
    copied = Copied(written, faults, first, replacement.prune(), replacement.build_index())
    if kept.copied is None:
        keep(replacement, replace(kept, copied=timestamp()))
    return copied


def count_missing(replacement: Replacement[VectorIndex]) -> int:
    """Rows that have no new vector and could have one."""
    # in the copy's batches: some engines give a batch whole if any of its rows is missing
    return sum(len(rows) - len(rows.faults) for rows in replacement.missing(BATCH))


def came_since(kept: MigrationNote | None, missing: int, rows: int) -> bool:
    """Whether rows without a new vector are the few that came or changed after a copy: `cut_over_rows` writes them."""
    return kept is not None and kept.copied is not None and missing <= STRAGGLERS * rows


def map_rows(rows: IndexRows, artifact: Artifact, role: Role) -> np.ndarray:
    """New vectors `(N, teacher_dim)` float32 of length 1; zero for rows without a usable vector."""
    good = [row for row in range(len(rows)) if row not in rows.faults]
    mapped = np.zeros((len(rows), artifact.teacher_dim), np.float32)
    if good:
        with np.errstate(over="ignore", invalid="ignore"):  # an overflow is refused, and its row named, on writing
            mapped[good] = unit_rows(artifact.align(np.ascontiguousarray(rows.vectors[good]), role))
    return mapped


def note_begun(
    index: VectorIndex, replacement: Replacement[VectorIndex], artifact: Artifact, role: Role
) -> MigrationNote:
    """Begin, or go on; the note that is kept. Of two who begin at once with different heads, one is refused.

    Raises:
        DataError: if the index does not fit the head, or the old vectors of the last migration are still kept.
        ConfigError: if another head has begun.
    """
    note = note_for(artifact, role)
    expect_room(replacement.stage())
    expect_fit(index.describe(), artifact)
    expect_same(read_note(replacement), note)
    replacement.begin(artifact.teacher_dim)
    kept = read_note(replacement)
    if kept is None:
        keep(replacement, note)
        kept = read_note(replacement) or note
    expect_same(kept, note)
    return kept
