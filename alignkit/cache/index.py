"""The index: where in which shard a key stands. SQLite, derived from the shards, and rebuilt from them when lost.

A key's first 64 bits and the place are all it holds; the reader compares the whole key with the shard's own record, so
neither a collision nor a damaged index can ever give a wrong vector.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from alignkit.cache.index_file import (
    BUSY_TIMEOUT_S,
    DAMAGED,
    FILE_NAME,
    IndexDamaged,
    copy_aside,
    empty_aside,
    open_file,
)
from alignkit.errors import CacheError

VERSION = 1
# a place is one integer: shard id * 2**32 + row
ROW_BITS = 32
LOOKUP_ROWS = 20_000
# places that are read, or dropped, at once
SCAN_ROWS = 200_000
# a log that readers kept from being emptied: past this a writer waits for them
MOST_LOG_BYTES = 64 * 1024 * 1024
READER_WAIT_S = 5

_SCHEMA = """
CREATE TABLE IF NOT EXISTS shards (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL,
                                   header TEXT NOT NULL, rows INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS places (prefix INTEGER, place INTEGER, PRIMARY KEY (prefix, place)) WITHOUT ROWID;
"""


class Version(NamedTuple):
    """Equal while nothing was written to the index: by other connections, by this one."""

    others: int
    own: int


class IndexedShard(NamedTuple):
    """A shard as the index knows it: `rows` is how far it has been taken in."""

    id: int
    name: str
    header: str
    rows: int


class Index:
    """Places of keys. Safe to share between threads; processes share the file.

    Args:
        folder: of the cache.
        read_only: work on a temporary copy and leave the folder as it is.
        anew: ignore the file, which is damaged; without `read_only` it must have been removed.
    """

    def __init__(self, folder: Path, read_only: bool = False, anew: bool = False) -> None:
        self._path = folder / FILE_NAME
        self._read_only = read_only
        if (folder / DAMAGED).is_file() and not read_only:
            raise IndexDamaged(f"{self._path} was found damaged")
        self._longest_log = MOST_LOG_BYTES
        self._lock = threading.RLock()
        self._listings = 0
        if read_only:
            self._db = empty_aside() if anew else copy_aside(self._path)
        else:
            self._db = open_file(self._path)
        try:
            with self._guarded() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                if version > VERSION:
                    raise CacheError(f"the cache in {folder} was written by a newer alignkit; update alignkit")
                db.executescript(_SCHEMA + f"PRAGMA user_version = {VERSION};")
        except BaseException:
            self._db.close()
            raise

    @contextmanager
    def _guarded(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.OperationalError as error:  # full, locked for too long, gone
                raise CacheError(
                    f"cannot use {self._path}: {error}; the vectors are safe in their shards; run the command again"
                ) from error
            except sqlite3.DatabaseError as error:
                if type(error) is not sqlite3.DatabaseError:  # its other children are mistakes of the caller
                    raise
                self._mark_damaged()
                raise IndexDamaged(
                    f"{self._path} is damaged ({error}); run the same command again, it is rebuilt"
                ) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._guarded() as db:
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise

    def version(self) -> Version:
        """Which state of the index is seen now."""
        with self._guarded() as db:
            return Version(db.execute("PRAGMA data_version").fetchone()[0], db.total_changes)

    def version_of_shards(self) -> Version:
        """Equal while the list of shards is the same: rows that this connection adds leave it as it is."""
        with self._guarded() as db:
            return Version(db.execute("PRAGMA data_version").fetchone()[0], self._listings)

    def shards(self) -> list[IndexedShard]:
        """All shards, in the order in which they were taken in."""
        with self._guarded():
            return [IndexedShard(*row) for row in self._db.execute("SELECT id, name, header, rows FROM shards")]

    def register(self, name: str, header: str) -> int:
        """Id of a shard, new or known."""
        with self._transaction() as db:
            self._listings += 1
            db.execute("INSERT OR IGNORE INTO shards (name, header, rows) VALUES (?, ?, 0)", (name, header))
            db.execute("UPDATE shards SET header = ? WHERE name = ?", (header, name))
            return int(db.execute("SELECT id FROM shards WHERE name = ?", (name,)).fetchone()[0])

    def add(self, shard_id: int, keys: np.ndarray, rows: np.ndarray, taken_in: int) -> None:
        """Commit keys at rows of a shard; `taken_in` rows of it are then known. Adding them twice does no harm."""
        order = np.argsort(keys["high"])  # neighbours in the tree are written together
        places = (rows[order] + (shard_id << ROW_BITS)).tolist()
        pairs = zip(places, keys["high"][order].tolist(), strict=True)
        array = "{" + ",".join(f'"{place}":{prefix}' for place, prefix in pairs) + "}"
        with self._transaction() as db:
            # one statement for all rows: it runs without Python's lock, beside the embedder
            db.execute("INSERT OR IGNORE INTO places SELECT value, CAST(key AS INTEGER) FROM json_each(?)", (array,))
            db.execute("UPDATE shards SET rows = max(rows, ?) WHERE id = ?", (taken_in, shard_id))
        self._bound_log()

    def _bound_log(self) -> None:
        """Empty a log that has outgrown its limit: readers that follow one another closely can keep SQLite from it."""
        try:
            size = self._path.with_name(f"{FILE_NAME}-wal").stat().st_size
        except OSError:
            return
        if size <= self._longest_log:
            return
        with self._guarded() as db:
            db.execute(f"PRAGMA busy_timeout = {int(READER_WAIT_S * 1000)}")
            try:
                refused = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        # a reader that hangs must not make every commit wait for it
        self._longest_log = 2 * size if refused else MOST_LOG_BYTES

    def find(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Candidates for keys `(N,)`: positions in `keys` and places, `(M,)` each; a key may have none or several."""
        found = []
        query = "SELECT wanted.key, place FROM json_each(?) wanted CROSS JOIN places ON prefix = wanted.value"
        with self._guarded():
            for start in range(0, len(keys), LOOKUP_ROWS):
                part = keys["high"][start : start + LOOKUP_ROWS].tolist()
                rows = self._db.execute(query, (json.dumps(part),)).fetchall()
                found.append(np.array(rows, dtype=np.int64).reshape(-1, 2) + (start, 0))
        both = np.concatenate(found) if found else np.empty((0, 2), dtype=np.int64)
        return both[:, 0], both[:, 1]

    def drop_end(self, shard_id: int, start: int) -> None:
        """Forget the places of a shard from row `start` on."""
        first = shard_id << ROW_BITS
        with self._transaction() as db:
            last = first + (1 << ROW_BITS)
            db.execute("DELETE FROM places WHERE place >= ? AND place < ?", (first + start, last))
            db.execute("UPDATE shards SET rows = min(rows, ?) WHERE id = ?", (start, shard_id))

    def drop_places(self, places: np.ndarray) -> None:
        """Forget places `(N,)`, whatever they are filed under; the whole index is read, so drop many at once."""
        for start in range(0, len(places), SCAN_ROWS):
            part = json.dumps(places[start : start + SCAN_ROWS].tolist())
            with self._transaction() as db:
                db.execute("DELETE FROM places WHERE place IN (SELECT value FROM json_each(?))", (part,))

    def drop_keys(self, keys: np.ndarray, places: np.ndarray) -> None:
        """Forget places `(N,)` that are filed under these keys `(N,)`."""
        with self._transaction() as db:
            pairs = zip(keys["high"].tolist(), places.tolist(), strict=True)
            db.executemany("DELETE FROM places WHERE prefix = ? AND place = ?", pairs)

    def drop_shards(self, shard_ids: Sequence[int]) -> None:
        """Forget shards whose files are gone; the whole index is read, so drop many at once."""
        if not len(shard_ids):
            return
        gone = json.dumps(list(shard_ids))
        with self._transaction() as db:
            self._listings += 1
            db.execute(f"DELETE FROM places WHERE place >> {ROW_BITS} IN (SELECT value FROM json_each(?))", (gone,))
            db.execute("DELETE FROM shards WHERE id IN (SELECT value FROM json_each(?))", (gone,))

    def live_rows(self) -> dict[int, int]:
        """Rows of each shard that can be found; one pass over the index."""
        with self._guarded():
            counts = np.zeros(1, np.int64)
            for places in self._all_places():
                part = np.bincount(places >> ROW_BITS, minlength=len(counts))
                part[: len(counts)] += counts
                counts = part
        return {number: int(counts[number]) for number in np.flatnonzero(counts).tolist()}

    def found_rows(self) -> dict[int, np.ndarray]:
        """Which rows of each shard can be found: id → bool for every row that was taken in; one pass over the index."""
        with self._guarded():
            shards = self.shards()
            starts, rows = (np.zeros(max((one.id for one in shards), default=0) + 1, np.int64) for _ in range(2))
            rows[[one.id for one in shards]] = [one.rows for one in shards]
            starts[1:] = np.cumsum(rows)[:-1]
            found = np.zeros(rows.sum(), dtype=bool)
            for places in self._all_places():
                ids, here = places >> ROW_BITS, places & ((1 << ROW_BITS) - 1)
                known = (ids < len(rows)) & (here < rows[np.minimum(ids, len(rows) - 1)])
                found[starts[ids[known]] + here[known]] = True
        return {one.id: found[starts[one.id] : starts[one.id] + one.rows] for one in shards}

    def _all_places(self) -> Iterator[np.ndarray]:
        """Every place, some at once; sorting or grouping them is left to numpy, as SQLite does it on the disk."""
        cursor = self._db.execute("SELECT place FROM places")
        while part := cursor.fetchmany(SCAN_ROWS):
            yield np.fromiter((place for (place,) in part), np.int64, len(part))

    def check(self) -> list[str]:
        """SQLite's own full check: its list of faults. After any, the next process that opens the index rebuilds it."""
        with self._guarded() as db:
            found = [str(row[0]) for row in db.execute("PRAGMA integrity_check(10)")]
        if found == ["ok"]:
            return []
        self._mark_damaged()
        return found

    def _mark_damaged(self) -> None:
        if self._read_only:
            return
        with suppress(OSError):
            self._path.with_name(DAMAGED).touch()

    def close(self) -> None:
        """Close the file; calling it twice does no harm."""
        with self._lock:
            self._db.close()
