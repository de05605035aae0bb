"""Finds a table of PostgreSQL in the catalogue: its key, its column of vectors, and what searches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from alignkit.errors import DataError
from alignkit.indexes.base import Metric
from alignkit.indexes.replacing import is_beside, setting

if TYPE_CHECKING:
    import psycopg

VECTOR_TYPES = {"vector": "float32", "halfvec": "float16"}
_KINDS = {"v": "a view, whose rows have no key", "f": "a foreign table, whose rows have no key that holds"}
_METRICS: dict[str, Metric] = {"cosine_ops": "cosine", "ip_ops": "dot", "l2_ops": "l2"}


@dataclass(frozen=True)
class PgTable:
    """A table as it was found.

    Attributes:
        oid: of the table.
        schema: it lies in.
        name: of the table.
        id: its key, one column.
        id_type: its type, as SQL writes it.
        vector: the column of vectors.
        vector_type: `vector` or `halfvec`.
        extension: the schema of pgvector's own types.
        dim: as declared; `None` for a column that takes any width.
        metric: of the approximate index on the column; `None` without one.
        columns: name → type of every column.
        partitioned: whether its rows lie in partitions.
    """

    oid: int
    schema: str
    name: str
    id: str
    id_type: str
    vector: str
    vector_type: str
    extension: str
    dim: int | None
    metric: Metric | None
    columns: dict[str, str]
    partitioned: bool


def find_table(connection: psycopg.Connection, table: str, vector: str | None, id: str | None) -> PgTable:
    """The table, with its key and its vectors.

    Args:
        connection: to the database.
        table: its name as it is, or with its schema and a dot before it.
        vector: the column; `None` takes the only one of pgvector's types.
        id: the column that names the rows; `None` takes the primary key.

    Raises:
        DataError: if there is none, if it has no key of one column, or no such column of vectors.
    """
    oid, schema, name, relation = _relation(connection, table)
    if relation in _KINDS:
        raise DataError(f"{setting('table')}={table}: this is {_KINDS[relation]}; give the table behind it")
    columns = _columns(connection, oid)
    key, key_type = _key(connection, oid, table, id, columns)
    column, kind, extension, dim = _vector(connection, oid, table, vector)
    metric = _metric(connection, oid, column)
    return PgTable(oid, schema, name, key, key_type, column, kind, extension, dim, metric, columns, relation == "p")


def holds_vectors(kind: str) -> bool:
    """Whether a column of this type, as SQL writes it, holds vectors of any kind.

    >>> holds_vectors("vector(384)"), holds_vectors("extensions.halfvec"), holds_vectors("tsvector")
    (True, True, False)
    """
    return kind.partition("(")[0].rpartition(".")[2] in (*VECTOR_TYPES, "sparsevec")


def _relation(connection: psycopg.Connection, table: str) -> tuple[int, str, str, str]:
    rows = connection.execute(
        "SELECT c.oid, n.nspname, c.relname, c.relkind::text,"
        " pg_table_is_visible(c.oid) AND c.relname = %(table)s AS plain"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f')"
        " AND (c.relname = %(table)s OR n.nspname || '.' || c.relname = %(table)s) ORDER BY 5 DESC, 2",
        {"table": table},
    ).fetchall()
    usable = [row for row in rows if row[4] or f"{row[1]}.{row[2]}" == table]
    if usable:
        return usable[0][:4]
    if rows:
        elsewhere = " or ".join(f"{row[1]}.{row[2]}" for row in rows)
        raise DataError(f"{setting('table')}={table}: not on the search path; give it with its schema: {elsewhere}")
    raise DataError(
        f"{setting('table')}={table}: there is no such table in database {connection.info.dbname}; names are taken "
        "as they are stored, in small letters unless they were quoted when the table was made"
    )


def _columns(connection: psycopg.Connection, oid: int) -> dict[str, str]:
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (oid,),
    ).fetchall()
    return dict(rows)


def _key(
    connection: psycopg.Connection, oid: int, table: str, id: str | None, columns: dict[str, str]
) -> tuple[str, str]:
    """The key and its type: rows are read in its order, so it must be there in every row, and distinct."""
    rows = connection.execute(
        "SELECT i.indisprimary, array_agg(a.attname::text), bool_and(a.attnotnull), i.indnkeyatts"
        " FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid"
        " AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1])"
        " WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL"
        " GROUP BY i.indexrelid, i.indisprimary, i.indnkeyatts ORDER BY i.indisprimary DESC",
        (oid,),
    ).fetchall()
    keys = {names[0]: filled for _, names, filled, count in rows if count == 1}
    primary = next((names for is_primary, names, _, _ in rows if is_primary), None)
    if id is None:
        if primary is None:
            raise DataError(
                f"{setting('table')}={table}: it has no primary key, so its rows cannot be told apart; name a column "
                f"that is unique and not null: {setting('id')}=COLUMN, or add a key: ALTER TABLE … ADD COLUMN id "
                "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
            )
        if len(primary) > 1:
            raise DataError(
                f"{setting('table')}={table}: its primary key has {len(primary)} columns ({', '.join(primary)}); "
                f"name one column that is unique and not null: {setting('id')}=COLUMN"
            )
        return primary[0], columns[primary[0]]
    if id not in columns:
        raise DataError(f"{setting('id')}={id}: table {table} has no such column; it has {', '.join(columns)}")
    if id not in keys:
        raise DataError(
            f"{setting('id')}={id}: no unique index holds this column alone, so two rows may have one id; make one, "
            "CREATE UNIQUE INDEX, or name another column"
        )
    if not keys[id]:
        raise DataError(
            f"{setting('id')}={id}: this column may be NULL, and such rows have no id; ALTER COLUMN … SET NOT NULL"
        )
    return id, columns[id]


def _vector(
    connection: psycopg.Connection, oid: int, table: str, vector: str | None
) -> tuple[str, str, str, int | None]:
    rows = connection.execute(
        "SELECT a.attname, t.typname, n.nspname, a.atttypmod FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
        " JOIN pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped"
        " AND t.typname = ANY (%s) ORDER BY a.attnum",
        (oid, list(VECTOR_TYPES)),
    ).fetchall()
    # while vectors are being replaced, the others lie in a column beside
    found = {row[0]: row for row in rows if row[0] == vector or not is_beside(row[0])}
    if (vector is None and len(found) != 1) or (vector is not None and vector not in found):
        got = "none is named" if vector is None else f"got {vector}"
        kinds, there = ", ".join(VECTOR_TYPES), ", ".join(found) or "none"
        raise DataError(
            f"{setting('table')}={table}: columns of vectors ({kinds}): {there}; "
            f"expected one as {setting('vector')}=…, {got}"
        )
    name, kind, extension, dim = found[vector or next(iter(found))]
    return name, kind, extension, dim if dim > 0 else None


def _metric(connection: psycopg.Connection, oid: int, vector: str) -> Metric | None:
    """Of the approximate index on the column itself; where there are several, of the first."""
    rows = connection.execute(
        "SELECT o.opcname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam"
        " JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
        " JOIN pg_opclass o ON o.oid = i.indclass[0]"
        " WHERE i.indrelid = %s AND a.attname = %s AND m.amname IN ('hnsw', 'ivfflat') AND i.indisvalid"
        " ORDER BY i.indexrelid",
        (oid, vector),
    ).fetchall()
    return next((_METRICS[ops] for (name,) in rows if (ops := name.partition("_")[2]) in _METRICS), None)
