"""The file of the index: opened to work with, copied aside to look at, removed when it is damaged."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from alignkit.errors import CacheError

log = logging.getLogger(__name__)

FILE_NAME = "index.sqlite"
# marks an index that was found damaged while in use: the next process that opens it rebuilds it
DAMAGED = "index.damaged"
BUSY_TIMEOUT_S = 120
READ_TIMEOUT_S = 5
# keys are random, so each of a commit's keys changes a page of its own: small pages write a quarter of large ones
PAGE_BYTES = 1024
# pages that a connection keeps in memory; negative is SQLite's sign for KiB
CACHE_KIB = -65536
# beside the index; larger is faster, as a page that changes twice is then copied once
LOG_BYTES = 16 * 1024 * 1024


class IndexDamaged(CacheError):
    """SQLite cannot make sense of its file."""


def open_file(path: Path) -> sqlite3.Connection:
    """Open the index to read and write; create it if there is none.

    Raises:
        CacheError: if it cannot be opened.
        IndexDamaged: if it is not an index.
    """
    try:
        # autocommit: transactions are begun by hand, and reads see what other processes committed
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            # of a new index; an old one keeps its own
            db.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            # readers beside a writer; where the file system cannot do it, SQLite keeps its older journal
            db.execute("PRAGMA journal_mode = WAL")
            # a commit lost in a power cut is read back from the shard itself
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA cache_size = {CACHE_KIB}")
            page_bytes = db.execute("PRAGMA page_size").fetchone()[0]
            db.execute(f"PRAGMA wal_autocheckpoint = {LOG_BYTES // page_bytes}")
            db.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        except BaseException:
            db.close()
            raise
    except sqlite3.OperationalError as error:
        raise CacheError(f"cannot open {path}: {error}") from error
    except sqlite3.DatabaseError as error:
        raise IndexDamaged(f"{path} is damaged ({error})") from error
    return db


def copy_aside(path: Path) -> sqlite3.Connection:
    """Copy the index to a temporary database; the file and its folder stay as they are."""
    db = empty_aside()
    if not path.is_file():
        return db
    # with a log in use beside it, the index is whole only with the log; without one, nothing need be made to read it
    live = all(path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-shm"))
    ways = ("mode=ro", "mode=ro&immutable=1") if live else ("mode=ro&immutable=1",)
    for way in ways:
        try:
            source = sqlite3.connect(f"{path.absolute().as_uri()}?{way}", uri=True, timeout=READ_TIMEOUT_S)
            try:
                source.backup(db)
            finally:
                source.close()
            return db
        except sqlite3.DatabaseError as error:
            fault = error
    log.warning("the index of the cache cannot be read (%s); a temporary one is made from the shards", fault)
    db.close()
    return empty_aside()


def empty_aside() -> sqlite3.Connection:
    """An index for this connection alone: in memory while it is small, else in the system's temporary folder."""
    db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    db.execute(f"PRAGMA cache_size = {CACHE_KIB}")
    return db


def remove_index(folder: Path) -> None:
    """Delete the index and what SQLite keeps beside it.

    Raises:
        CacheError: if another process holds it (Windows).
    """
    for name in (*(FILE_NAME + suffix for suffix in ("", "-wal", "-shm", "-journal")), DAMAGED):
        try:
            (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(
                f"{folder / name} is damaged and in use: {error.strerror}; close what uses the cache and try again"
            ) from None
