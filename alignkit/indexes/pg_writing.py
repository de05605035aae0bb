"""Writes vectors into a column of a table that others read and change meanwhile."""

from __future__ import annotations

from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from alignkit.indexes.pg_rows import PgRows, written

if TYPE_CHECKING:
    import psycopg

# less than the second after which PostgreSQL takes two who wait for each other for a deadlock, and stops one of them
LOCK_TIMEOUT_MS = 200
# what a crash of the server takes away is missing, and written again
_UNHURRIED = "SET LOCAL synchronous_commit = off"
# nobody knows how many rows a new table has, and the guess would have the whole other table read for each batch
_BY_ID = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
_SAME = "t.{id} = s.id::{id_type} AND t.xmin::text = coalesce(s.version, t.xmin::text)"
_UPDATE = f"UPDATE {{table}} AS t SET {{new}} = s.made FROM pg_temp.alignkit_staging AS s WHERE {_SAME}"
_UPDATE_FREE = (
    f"WITH free AS (SELECT s.* FROM {{table}} AS t, pg_temp.alignkit_staging AS s WHERE {_SAME}"
    f" FOR NO KEY UPDATE OF t SKIP LOCKED) UPDATE {{table}} AS t SET {{new}} = s.made FROM free AS s WHERE {_SAME}"
)


class PgWriter:
    """Vectors for rows by their ids, a batch in one transaction.

    Args:
        rows: of the table.
        kind: of the column, `vector` or `halfvec`.
        quiet: whether the table's own triggers are passed over.
    """

    def __init__(self, rows: PgRows, kind: str, quiet: bool) -> None:
        self.rows, self.kind, self.quiet = rows, kind, quiet

    def write(self, keys: list[str], versions: list[str] | None, vectors: np.ndarray) -> int:
        """Store the vectors of these rows; returns of how many.

        Rows that have changed since their version are passed over, and those that another transaction holds.

        Args:
            keys: N ids as text.
            versions: of the rows; `None` takes them as they are.
            vectors: `(N, dim)` float32.
        """
        made = written(vectors, self.kind)
        return self.rows.connection.run(lambda opened: self._write(opened, keys, versions, made))

    def write_held(self, opened: psycopg.Connection, keys: list[str], vectors: np.ndarray) -> int:
        """The same in a transaction that holds the table already, and goes on to change it."""
        made = written(vectors, self.kind)
        stored = self._staged(opened, keys, None, made, _UPDATE)
        # what the table's own triggers put off to the end of the transaction would stop a change of the table
        opened.execute("SET CONSTRAINTS ALL IMMEDIATE")
        if self.quiet:
            opened.execute("SET LOCAL session_replication_role TO DEFAULT")
        return stored

    def _write(self, opened: psycopg.Connection, keys: list[str], versions: list[str] | None, made: np.ndarray) -> int:
        from psycopg.errors import DeadlockDetected, LockNotAvailable

        try:
            return self._at_once(opened, keys, versions, made, _UPDATE, LOCK_TIMEOUT_MS)
        except (LockNotAvailable, DeadlockDetected):
            # slower, so only where it must be; what it may still wait for is the table itself, as everybody does
            return self._at_once(opened, keys, versions, made, _UPDATE_FREE, 0)

    def _at_once(
        self,
        opened: psycopg.Connection,
        keys: list[str],
        versions: list[str] | None,
        made: np.ndarray,
        update: str,
        timeout_ms: int,
    ) -> int:
        with opened.transaction():
            opened.execute(f"{_UNHURRIED}; SET LOCAL lock_timeout = {timeout_ms}")
            return self._staged(opened, keys, versions, made, update)

    def _staged(
        self,
        opened: psycopg.Connection,
        keys: list[str],
        versions: list[str] | None,
        made: np.ndarray,
        update: str,
    ) -> int:
        """By way of a table that lasts as long as the transaction."""
        kind = (self.rows.table.extension, self.kind)
        with opened.cursor() as cursor:
            cursor.execute(_BY_ID)
            if self.quiet:
                cursor.execute("SET LOCAL session_replication_role = replica")
            staging = "CREATE TEMP TABLE alignkit_staging (id text, version text, made {kind}) ON COMMIT DROP"
            cursor.execute(self.rows.sql(staging, kind=kind), ())
            with cursor.copy("COPY pg_temp.alignkit_staging FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text", "text", "bytea"])
                for key, version, vector in zip(keys, versions or repeat(None), made, strict=False):
                    copy.write_row((key, version, vector.tobytes()))
            return cursor.execute(self.rows.sql(update), ()).rowcount
