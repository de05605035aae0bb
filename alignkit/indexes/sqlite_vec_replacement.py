"""New vectors in a vec0 table of their own, and the renaming of two tables that puts them in use."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import VectorIndex
from alignkit.indexes.index_rows import IndexRows, Stretch, picked
from alignkit.indexes.replacement import Note, Replacement
from alignkit.indexes.replacing import NEW, OLD, beside, expect_all, expect_width, note_of, usable_rows
from alignkit.indexes.sqlite_file import SqliteFile, quoted
from alignkit.indexes.stages import Stage
from alignkit.indexes.vec0_table import Vec0Table, find_vec0, rename_vec0, vec0_tables

_SEEN, _NOTE = "_alignkit_seen", "_alignkit_note"


class SqliteVecReplacement(Replacement[VectorIndex]):
    """A vec0 table beside the old one, with the same keys and further columns.

    An ordinary table beside holds a digest of each row as it was when its new vector was written. So `missing` gives
    the rows that were inserted or changed since, and `cut_over` deletes those that were deleted. Atomic are each
    `write`, `cut_over` and `roll_back`: the latter two rename the tables, those behind vec0's own included, in one
    transaction. Rows that are inserted after `cut_over` have no old vector. A row without a usable vector gets a zero
    one, as vec0 knows no missing ones. The note is an ordinary table of one row.

    Args:
        index: over the table.
        file: that the table lies in.
        table: of the index.
        find_again: reads the table's declaration again.
        opened: another vec0 table of the file as an index.
    """

    def __init__(
        self,
        index: VectorIndex,
        file: SqliteFile,
        table: Vec0Table,
        find_again: Callable[[], Vec0Table],
        opened: Callable[[str], VectorIndex],
    ) -> None:
        self.index, self.file, self.table, self._find_again, self._opened = index, file, table, find_again, opened
        self.new, self.old = beside(table.name, NEW), beside(table.name, OLD)
        self.seen, self.noted = beside(table.name, _SEEN), beside(table.name, _NOTE)

    def way(self, dim: int) -> str:
        """See `Replacement`."""
        return (
            f"a new vec0 table of float[{dim}] is filled beside the old one, and rows that are added, changed or "
            "deleted meanwhile are caught up; cut_over and roll_back rename the two tables in one transaction"
        )

    def stage(self) -> Stage:
        """See `Replacement`."""
        tables = vec0_tables(self.file)
        return "cut over" if self.old in tables else "begun" if self.new in tables else "untouched"

    def _begin(self, dim: int) -> None:
        if self.stage() == "begun":
            expect_width(self._made(self.new).dim, dim)
            return

        def work() -> None:
            self.file.rows(self.table.declared(self.new, dim))
            self.file.rows(f"CREATE TABLE {quoted(self.seen)} (key PRIMARY KEY, digest BLOB) WITHOUT ROWID")

        self.file.whole(work)

    @property
    def written_together(self) -> bool:
        """See `Replacement`."""
        return True

    def missing(self, batch: int = 4096, within: Stretch | None = None) -> Iterator[IndexRows]:
        """See `Replacement`."""
        if self.stage() != "begun":
            return
        for rows in self.index.within(within, batch):
            now, before = self._digests(rows), self._seen(rows.ids)
            left = [row for row, one in enumerate(rows.ids) if one in now and before.get(one) != now[one]]
            if left:
                yield replace(picked(rows, left), versions=[now[rows.ids[row]] for row in left])

    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`."""
        if self.stage() != "begun":
            raise DataError("cannot write: no replacement has begun, or it is in use")
        dim = self._made(self.new).dim
        kept, made = usable_rows(rows, vectors, dim)
        blobs = dict.fromkeys(rows.ids, bytes(4 * dim)) | {
            rows.ids[row]: vector.tobytes() for row, vector in zip(kept, made, strict=True)
        }
        versions = None if rows.versions is None else dict(zip(rows.ids, rows.versions, strict=True))
        return len(self.file.whole(lambda: self._write(blobs, versions)) & {rows.ids[row] for row in kept})

    def surplus(self) -> int:
        """See `Replacement`."""
        return len(self._gone(self.new))

    def prune(self) -> int:
        """See `Replacement`."""
        return self.file.whole(lambda: self._delete_gone(self.new))

    def build_index(self) -> str:
        """See `Replacement`."""
        return "none: vec0 reads every vector"

    def _cut_over(self, force: bool) -> None:
        expect_all(sum(len(rows) for rows in self.missing()), force)

        def work() -> None:
            # what happened since it was counted
            expect_all(len(self._difference(self.table.name, self.new)), force)
            self._delete_gone(self.new)
            rename_vec0(self.file, self.table.name, self.old)
            rename_vec0(self.file, self.new, self.table.name)

        self._change(work)

    def _roll_back(self) -> None:
        def work() -> None:
            self._delete_gone(self.old)
            rename_vec0(self.file, self.table.name, self.new)
            rename_vec0(self.file, self.old, self.table.name)

        self._change(work)

    def _drop_old(self) -> None:
        self._change(lambda: self._forget(self.old, self.seen, self.noted))

    def _give_up(self) -> None:
        self._change(lambda: self._forget(self.new, self.seen, self.noted))

    def _other(self, stage: Stage) -> VectorIndex:
        return self._opened(self.old if stage == "cut over" else self.new)

    def _read_note(self, stage: Stage) -> Note | None:
        if not self.file.rows("SELECT 1 FROM sqlite_schema WHERE name = ?", self.noted):
            return None
        return note_of(self.file.rows(f"SELECT note FROM {quoted(self.noted)}")[0][0])

    def _keep_note(self, note: Note, stage: Stage) -> None:
        def work() -> None:
            self._forget(self.noted)
            self.file.rows(f"CREATE TABLE {quoted(self.noted)} (note TEXT)")
            self.file.rows(f"INSERT INTO {quoted(self.noted)} VALUES (?)", json.dumps(note))

        self.file.whole(work)

    def _write(self, blobs: dict[Any, bytes], versions: dict[Any, bytes] | None) -> set[Any]:
        """The keys of those rows that were written: they are there, and as they were when they were read."""
        table, columns = self.table, self.table.columns
        found = {row[columns.index(table.key)]: row for row in self._whole_rows(list(blobs))}
        place = columns.index(table.vector)
        digests = {key: _digest(row, place) for key, row in found.items()}
        wanted = [key for key in found if versions is None or versions[key] == digests[key]]
        self._delete(self.new, list(self._seen(wanted)))  # vec0 can replace none
        rows = [(*found[key][:place], blobs[key], *found[key][place + 1 :]) for key in wanted]
        names, marks = ", ".join(map(quoted, columns)), ", ".join("?" * len(columns))
        self.file.many(f"INSERT INTO {quoted(self.new)} ({names}) VALUES ({marks})", rows)
        kept = [(key, digests[key]) for key in wanted]
        self.file.many(f"INSERT INTO {quoted(self.seen)} VALUES (?, ?)", kept)
        return set(wanted)

    def _delete(self, name: str, keys: list[Any]) -> None:
        self.file.many(f"DELETE FROM {quoted(name)} WHERE {quoted(self.table.key)} = ?", [(key,) for key in keys])
        self.file.many(f"DELETE FROM {quoted(self.seen)} WHERE key = ?", [(key,) for key in keys])

    def _delete_gone(self, name: str) -> int:
        gone = self._gone(name)
        self._delete(name, gone)
        return len(gone)

    def _gone(self, name: str) -> list[Any]:
        """The rows that were in both tables and are no longer in the one in use; others never were there."""
        seen = {one for (one,) in self.file.rows(f"SELECT key FROM {quoted(self.seen)}")}
        return [one for one in self._difference(name, self.table.name) if one in seen]

    def _whole_rows(self, keys: list[Any]) -> list[tuple[Any, ...]]:
        columns = ", ".join(f"v.{quoted(name)}" for name in self.table.columns)
        return self.file.rows(
            f"SELECT {columns} FROM json_each(?) AS r CROSS JOIN {quoted(self.table.name)} AS v"
            f" WHERE v.{quoted(self.table.key)} = r.value",
            json.dumps(keys),
        )

    def _digests(self, rows: IndexRows) -> dict[Any, bytes]:
        table, found = self.table, {}
        # without further columns there is nothing more to read
        read = range(len(rows)) if set(table.columns) == {table.key, table.vector} else ()
        place = table.columns.index(table.vector)
        for row in read:
            if row not in rows.faults:
                found[rows.ids[row]] = _digest((rows.ids[row], rows.vectors[row].tobytes()), place)
        left = [one for one in rows.ids if one not in found]
        key = table.columns.index(table.key)
        return found | {row[key]: _digest(row, place) for row in self._whole_rows(left)}

    def _seen(self, keys: list[Any]) -> dict[Any, bytes]:
        asked = f"SELECT key, digest FROM {quoted(self.seen)} WHERE key IN (SELECT value FROM json_each(?))"
        return dict(self.file.rows(asked, json.dumps(keys)))

    def _difference(self, name: str, other: str) -> list[Any]:
        """The keys of one vec0 table that another has not."""
        key = self.table.key_of_rowids
        one, two = (quoted(f"{table}_rowids") for table in (name, other))
        return [found for (found,) in self.file.rows(f"SELECT {key} FROM {one} EXCEPT SELECT {key} FROM {two}")]

    def _made(self, name: str) -> Vec0Table:
        return find_vec0(self.file, name, self.table.vector)

    def _forget(self, *tables: str) -> None:
        for name in tables:
            self.file.rows(f"DROP TABLE IF EXISTS {quoted(name)}")

    def _change(self, work: Callable[[], None]) -> None:
        self.file.whole(work)
        self.table = self._find_again()


def _digest(row: tuple[Any, ...], vector: int) -> bytes:
    """Another one for another row; the vector is at that place."""
    digest = hashlib.blake2b(row[vector], digest_size=12)
    digest.update(repr((*row[:vector], *row[vector + 1 :])).encode())
    return digest.digest()
