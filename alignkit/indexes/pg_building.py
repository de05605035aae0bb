"""Builds the HNSW index over new vectors while their table is read and written."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from alignkit.indexes.base import Metric
from alignkit.indexes.pg_rows import PgRows
from alignkit.indexes.replacing import beside

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

# the widest vectors that an HNSW index of pgvector takes
WIDEST = {"vector": 2000, "halfvec": 4000}
LOOK_AGAIN_S = 0.5
# of two who begin at the same moment, one is refused
_TRIES = 5
_OPS: dict[Metric, str] = {"cosine": "cosine_ops", "dot": "ip_ops", "l2": "l2_ops"}


def build_hnsw(rows: PgRows, column: str, kind: str) -> None:
    """Build the index unless it is there, or wait for whoever builds it.

    A process that was killed leaves its server building; one that the server broke off leaves an index behind that
    is of no use, and is deleted.

    Args:
        rows: of the table.
        column: of the vectors.
        kind: of the column, `vector` or `halfvec`.

    Raises:
        EngineError: if the server refuses.
    """
    rows.connection.run(lambda opened: _build(rows, opened, column, kind))


def _build(rows: PgRows, opened: psycopg.Connection, column: str, kind: str) -> None:
    from psycopg.errors import DeadlockDetected, DuplicateTable, LockNotAvailable, UndefinedObject, UniqueViolation

    for left in reversed(range(_TRIES)):
        try:
            if not _is_built(rows, opened, column):
                _create(rows, opened, column, kind)
            return
        except (DeadlockDetected, DuplicateTable, LockNotAvailable, UndefinedObject, UniqueViolation):
            if not left:
                raise
            time.sleep(LOOK_AGAIN_S)


def _is_built(rows: PgRows, opened: psycopg.Connection, column: str) -> bool:
    """Whether the index is there; waits while one is being built."""
    said = False
    while True:
        found = opened.execute(
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am m ON m.oid = c.relam JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indrelid = %s AND a.attname = %s AND m.amname = 'hnsw'",
            (rows.table.oid, column),
        ).fetchall()
        if any(valid for _, valid in found):
            return True
        building = "SELECT 1 FROM pg_stat_progress_create_index WHERE relid = %s"
        if not opened.execute(building, (rows.table.oid,)).fetchall():
            break
        if not said:
            logger.warning("another process is building an index of table %s; waiting for it", rows.table.name)
        said = True
        time.sleep(LOOK_AGAIN_S)
    for name, _ in found:
        # dropped as it was made: waiting for the whole table would make everybody else wait too
        drop = f"DROP INDEX {_how(rows)}IF EXISTS {{index}}"
        opened.execute(rows.sql(drop, index=(rows.table.schema, name)), ())
    return False


def _create(rows: PgRows, opened: psycopg.Connection, column: str, kind: str) -> None:
    table = rows.table
    number = opened.execute(
        "SELECT attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s", (table.oid, column)
    ).fetchone()
    # a name that no second process can take, nor the column that comes after this one
    name = beside(table.name, f"_{number[0] if number else 0}_alignkit_hnsw")
    create = f"CREATE INDEX {_how(rows)}{{name}} ON {{table}} USING hnsw ({{column}} {{ops}})"
    ops = (table.extension, f"{kind}_{_OPS[rows.metric]}")
    limit = opened.execute("SELECT current_setting('statement_timeout')").fetchone()
    opened.execute("SET statement_timeout = 0")
    try:
        opened.execute(rows.sql(create, name=(name,), column=(column,), ops=ops), ())
    finally:
        if not opened.closed:
            opened.execute("SELECT set_config('statement_timeout', %s, false)", limit)


def _how(rows: PgRows) -> str:
    # a partitioned table cannot be indexed while it is written
    return "" if rows.table.partitioned else "CONCURRENTLY "
