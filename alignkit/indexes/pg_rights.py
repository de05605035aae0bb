"""What the user may do with a table of PostgreSQL, asked before anything is changed."""

from __future__ import annotations

from alignkit.errors import EngineError
from alignkit.indexes.pg_rows import PgRows


def expect_rights(rows: PgRows) -> None:
    """Refuse to replace a column that this user may not replace.

    Raises:
        EngineError: with all the rights that are missing.
    """
    table = rows.table
    user, owner, owns, creates, stages, reads_only = rows.execute(
        "SELECT current_user::text, pg_get_userbyid(c.relowner)::text, pg_has_role(c.relowner, 'USAGE'),"
        " has_schema_privilege(c.relnamespace, 'CREATE'), has_database_privilege(current_database(), 'TEMP'),"
        " pg_is_in_recovery() OR current_setting('transaction_read_only')::bool FROM pg_class c WHERE c.oid = %s",
        table.oid,
    )[0]
    if reads_only:
        raise EngineError("PostgreSQL: this server or this user only reads; give the address of the primary server")
    lacking = []
    if not owns:
        lacking.append(f"be a member of {owner}, who owns table {table.name}: nobody else may add a column")
    if not creates:
        lacking.append(f"have CREATE on schema {table.schema}, for an index and a trigger's function")
    if not stages:
        lacking.append("have TEMPORARY on the database, through which vectors are written")
    if lacking:
        raise EngineError(f"PostgreSQL: user {user} must {', and must '.join(lacking)}; ask the owner for that")


def size_of(rows: PgRows) -> int:
    """Bytes of the table without its indexes, partitions included."""
    asked = (
        "SELECT coalesce((SELECT sum(pg_table_size(relid)) FROM pg_partition_tree(%s) WHERE isleaf),"
        " pg_table_size(%s))::bigint"
    )
    return int(rows.execute(asked, rows.table.oid, rows.table.oid)[0][0])
