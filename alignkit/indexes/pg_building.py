"""Builds indexes of a table while it is read and written: HNSW over its new vectors, for one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from alignkit.indexes.base import Metric
from alignkit.indexes.pg_changes import PATIENCE_S, in_use
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
_HNSW_OVER = (
    "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_am m ON m.oid = c.relam JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
    " WHERE i.indrelid = %s AND a.attname = %s AND m.amname = 'hnsw'"
)
_NAMED = (
    "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " WHERE i.indrelid = %s AND c.relname = %s"
)


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
    rows.connection.run(
        lambda opened: _build(rows, opened, (_HNSW_OVER, column), partial(_create_hnsw, rows, opened, column, kind))
    )


def build_named(rows: PgRows, name: str, what: str, **names: tuple[str, ...]) -> None:
    """Build an index of this name likewise, and give up where a transaction does not end.

    Args:
        rows: of the table.
        name: of the index.
        what: follows the name of the table; with `{names}` as `PgRows.sql` has them.
        names: further ones.

    Raises:
        EngineError: if a transaction that writes goes on for longer than `PATIENCE_S`, with the one whose it is.
    """
    from psycopg.errors import LockNotAvailable

    create = f"CREATE INDEX {_how(rows)}{{name}} ON {{table}} {what}"

    def work(opened: psycopg.Connection) -> None:
        def made() -> None:
            try:
                _with_settings(
                    opened,
                    {"statement_timeout": "0", "lock_timeout": f"{PATIENCE_S:g}s"},
                    lambda: opened.execute(rows.sql(create, name=(name,), **names), ()),
                )
            except LockNotAvailable:
                raise in_use(opened, rows.table) from None

        _build(rows, opened, (_NAMED, name), made)

    rows.connection.run(work)


def _build(rows: PgRows, opened: psycopg.Connection, known_by: tuple[str, str], create: Callable[[], None]) -> None:
    from psycopg.errors import DeadlockDetected, DuplicateTable, LockNotAvailable, UndefinedObject, UniqueViolation

    for left in reversed(range(_TRIES)):
        try:
            if not _is_built(rows, opened, known_by):
                create()
            return
        except (DeadlockDetected, DuplicateTable, LockNotAvailable, UndefinedObject, UniqueViolation):
            if not left:
                raise
            time.sleep(LOOK_AGAIN_S)


def _is_built(rows: PgRows, opened: psycopg.Connection, known_by: tuple[str, str]) -> bool:
    """Whether the index is there; waits while one is being built."""
    (asked, value), said = known_by, False
    while True:
        found = opened.execute(asked, (rows.table.oid, value)).fetchall()
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


def _create_hnsw(rows: PgRows, opened: psycopg.Connection, column: str, kind: str) -> None:
    table = rows.table
    number = opened.execute(
        "SELECT attnum FROM pg_attribute WHERE attrelid = %s AND attname = %s", (table.oid, column)
    ).fetchone()
    # a name that no second process can take, nor the column that comes after this one
    name = beside(table.name, f"_{number[0] if number else 0}_alignkit_hnsw")
    create = f"CREATE INDEX {_how(rows)}{{name}} ON {{table}} USING hnsw ({{column}} {{ops}})"
    ops = (table.extension, f"{kind}_{_OPS[rows.metric]}")
    query = rows.sql(create, name=(name,), column=(column,), ops=ops)
    _with_settings(opened, {"statement_timeout": "0"}, lambda: opened.execute(query, ()))


def _with_settings(opened: psycopg.Connection, settings: dict[str, str], work: Callable[[], object]) -> None:
    """Do the work under other settings of the session, for what cannot run in a transaction."""
    put = "SELECT set_config(%s, %s, false)"
    found = opened.execute(
        "SELECT name, setting || coalesce(unit, '') FROM pg_settings WHERE name = ANY (%s)", [[*settings]]
    )
    before = found.fetchall()
    try:
        for name, value in settings.items():
            opened.execute(put, (name, value))
        work()
    finally:
        if not opened.closed:
            for own in before:
                opened.execute(put, own)


def _how(rows: PgRows) -> str:
    # a partitioned table cannot be indexed while it is written
    return "" if rows.table.partitioned else "CONCURRENTLY "
