"""A file of SQLite with the functions of sqlite-vec, and every refusal in one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from alignkit.errors import AlignkitError, DataError, EngineError
from alignkit.extras import needing

T = TypeVar("T")
_WAIT_MS = 30_000
_WAYS_OUT = {
    "BusyError": "another program is writing to the file; try again when it is done",
    "LockedError": "another program is writing to the file; try again when it is done",
    "FullError": "free some space on the disk, then run the same command again: it continues",
    "ReadOnlyError": "allow yourself to write to the file and its folder",
    "CantOpenError": "check the rights of the file and its folder",
}


def apsw_with_vec() -> tuple[ModuleType, str]:
    """The library, and the path of the extension; Python's own sqlite3 often cannot load extensions.

    Raises:
        MissingExtraError: if either is not installed.
    """
    with needing("sqlite-vec"):
        import apsw
        import sqlite_vec
    return apsw, sqlite_vec.loadable_path()


def quoted(name: str) -> str:
    """A name as SQL has it.

    >>> print(quoted('my "best" docs'))
    "my ""best"" docs"
    """
    return '"' + name.replace('"', '""') + '"'


class SqliteFile:
    """One connection to one file.

    Args:
        path: of the file.
        create: whether a file that is not there is made.

    Raises:
        DataError: if there is no such file, or it is none of SQLite.
        MissingExtraError: without apsw and sqlite-vec.
    """

    def __init__(self, path: str, *, create: bool = False) -> None:
        self.apsw, extension = apsw_with_vec()
        self.path = Path(path).expanduser()
        if not create and not self.path.is_file():
            raise DataError(f"{self.path}: no such file")
        flags = self.apsw.SQLITE_OPEN_READWRITE | (self.apsw.SQLITE_OPEN_CREATE if create else 0)
        self._connection: Any = None
        try:
            self._connection = self.apsw.Connection(str(self.path), flags=flags)
            self._connection.set_busy_timeout(_WAIT_MS)
            self._connection.enable_load_extension(True)
            self._connection.load_extension(extension)
            self._connection.enable_load_extension(False)
            # triggers and views stay with the name of a table that is renamed
            self._connection.execute("PRAGMA legacy_alter_table = ON")
            self._connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except self.apsw.Error as error:
            self.close()
            raise self._worded(error) from None

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows of a query, its values bound.

        Raises:
            EngineError: if SQLite refuses.
        """
        try:
            return self._connection.execute(query, values).fetchall()
        except self.apsw.Error as error:
            raise self._worded(error) from None

    def many(self, query: str, values: Iterable[Sequence[Any]]) -> None:
        """The same statement for each sequence of values.

        Raises:
            EngineError: if SQLite refuses.
        """
        try:
            self._connection.executemany(query, values)
        except self.apsw.Error as error:
            raise self._worded(error) from None

    def whole(self, work: Callable[[], T]) -> T:
        """What the work returns; all that it writes appears at once, or none of it.

        Raises:
            EngineError: if SQLite refuses.
        """
        self.rows("BEGIN IMMEDIATE")
        try:
            made = work()
            self.rows("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        return made

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _worded(self, error: Exception) -> AlignkitError:
        kind = type(error).__name__
        if kind == "NotADBError":
            return DataError(f"{self.path}: not a file of SQLite")
        fix = f"; {_WAYS_OUT[kind]}" if kind in _WAYS_OUT else ""
        said = (str(error).strip().splitlines() or [kind])[0]
        return EngineError(f"SQLite: {self.path}: {said}{fix}")
