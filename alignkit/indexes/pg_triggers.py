"""Triggers of a table: our own, which marks rows that change meanwhile, and those that a copy had better pass over."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from alignkit.indexes.pg_rows import PgRows
from alignkit.indexes.replacing import NEW, beside

if TYPE_CHECKING:
    import psycopg

STALE = "_alignkit_stale"


def is_watched(rows: PgRows) -> bool:
    """Whether our trigger is there."""
    asked = "SELECT 1 FROM pg_trigger WHERE tgrelid = %s AND tgname = %s"
    return bool(rows.execute(asked, rows.table.oid, _name(rows)))


def watch(rows: PgRows, opened: psycopg.Connection) -> None:
    """Let a row lose its new vector when its old one changes."""
    from psycopg.sql import SQL, Identifier, Literal

    body = SQL("BEGIN NEW.{} := NULL; RETURN NEW; END").format(Identifier(beside(rows.table.vector, NEW)))
    function, trigger = _function(rows), (_name(rows),)
    unwatch(rows, opened)
    opened.execute(
        SQL("CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}").format(
            Identifier(*function), Literal(body.as_string(opened))
        )
    )
    create = (
        "CREATE TRIGGER {trigger} BEFORE UPDATE OF {vector} ON {table} FOR EACH ROW"
        " WHEN (OLD.{vector} IS DISTINCT FROM NEW.{vector}) EXECUTE FUNCTION {function}()"
    )
    opened.execute(rows.sql(create, trigger=trigger, function=function), ())


def unwatch(rows: PgRows, opened: psycopg.Connection) -> None:
    """Take our trigger and its function away, whatever the table was called when they were made."""
    found = opened.execute(
        "SELECT n.nspname, p.proname FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid"
        " JOIN pg_namespace n ON n.oid = p.pronamespace WHERE t.tgrelid = %s AND t.tgname = %s",
        (rows.table.oid, _name(rows)),
    ).fetchone()
    if found is not None:
        opened.execute(rows.sql("DROP TRIGGER {trigger} ON {table}", trigger=(_name(rows),)), ())
        opened.execute(rows.sql("DROP FUNCTION {function}()", function=found), ())


def run_on_every_update(rows: PgRows) -> list[str]:
    """The table's own triggers that each update of a row runs, whatever it changes: those that keep its time, say."""
    found = rows.execute(
        "SELECT tgname::text FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled = 'O'"
        " AND tgtype & 16 <> 0 AND cardinality(tgattr::int2[]) = 0 ORDER BY 1",
        rows.table.oid,
    )
    return [name for (name,) in found]


def may_pass_over(rows: PgRows) -> bool:
    """Whether this user may write without running triggers."""
    asked = (
        "SELECT rolsuper OR CASE WHEN current_setting('server_version_num')::int >= 150000"
        " THEN has_parameter_privilege('session_replication_role', 'SET') ELSE false END"
        " FROM pg_roles WHERE rolname = current_user"
    )
    return bool(rows.execute(asked)[0][0])


def _name(rows: PgRows) -> str:
    return beside(rows.table.vector, STALE)


def _function(rows: PgRows) -> tuple[str, str]:
    """One of its own for each column: tables `a` and `a_b` may have columns `b_c` and `c`."""
    table = rows.table
    own = hashlib.sha256("\0".join((table.name, table.vector)).encode()).hexdigest()[:8]
    return table.schema, beside(f"{table.name}_{table.vector}_{own}", STALE)
