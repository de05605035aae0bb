"""New vectors in a column of their own, and the renaming of two columns that puts them in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric, Note, Replacement, VectorIndex
from alignkit.indexes.index_rows import IndexRows
from alignkit.indexes.pg_rows import PgRows, written
from alignkit.indexes.replacing import (
    NEW,
    OLD,
    beside,
    expect_all,
    expect_width,
    note_of,
    usable_rows,
)
from alignkit.indexes.stages import Stage

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

# the widest vectors that an HNSW index of pgvector takes
WIDEST = {"vector": 2000, "halfvec": 4000}
_OPS: dict[Metric, str] = {"cosine": "cosine_ops", "dot": "ip_ops", "l2": "l2_ops"}
STALE = "_alignkit_stale"
LOCK_TIMEOUT_S = 2


class PgReplacement(Replacement):
    """A column beside the old one in the same table, NULL where a row has no new vector yet.

    Rows that are inserted later have none; a trigger takes it away from rows whose old vector changes; and `write`
    passes over rows that another transaction changed since `missing` gave them. So whatever happens meanwhile,
    `missing` gives the rows that are left. Atomic are each `write`, `cut_over` and `roll_back`: the latter two rename
    two columns in one transaction, which waits two seconds at most for the table. A NOT NULL on the old column is
    dropped by `cut_over`, since rows inserted afterwards have no old vector, and is not set again by `roll_back`.
    The note is the comment of the new column.

    Args:
        rows: of the table.
        opened: another of its columns of vectors as an index.
    """

    def __init__(self, rows: PgRows, opened: Callable[[str], VectorIndex]) -> None:
        self.rows, self._opened = rows, opened

    def way(self, dim: int) -> str:
        """See `Replacement`."""
        kind = self._new_kind(dim)
        searched = "with an HNSW index" if dim <= WIDEST[kind] else "without an index, which pgvector has up to 4,000"
        return (
            f"a new column of {kind}({dim}), {searched}, is filled beside the old one, and a trigger marks rows that "
            "change meanwhile; cut_over and roll_back rename two columns in one transaction"
        )

    def stage(self) -> Stage:
        """See `Replacement`."""
        table = self.rows.table
        if self._width(beside(table.vector, OLD)) is not None:
            return "cut over"
        return "untouched" if self._width(beside(table.vector, NEW)) is None else "begun"

    def _begin(self, dim: int) -> None:
        """See `Replacement`; wider than 2,000 dimensions the column is of `halfvec`, which HNSW takes up to 4,000."""
        table = self.rows.table
        expect_width(self._width(beside(table.vector, NEW)), dim)
        kind = self._new_kind(dim)
        add = f"ALTER TABLE {{table}} ADD COLUMN IF NOT EXISTS {{new}} {{kind}}({int(dim)})"
        self._transaction(add, *self._watching(), kind=(table.extension, kind))

    def missing(self, batch: int = 4096) -> Iterator[IndexRows]:
        """See `Replacement`; rows inserted or changed since are among them, whenever that was."""
        after = None
        while len(rows := self.rows.page(after, batch, "t.{new} IS NULL", versions=True)):
            yield rows
            after = rows.cursor

    def write(self, rows: IndexRows, vectors: np.ndarray) -> int:
        """See `Replacement`; rows that changed since `missing` gave them are left for it to give again."""
        new = beside(self.rows.table.vector, NEW)
        dim = self._width(new)
        if dim is None:
            raise DataError("cannot write: no replacement has begun")
        kept, vectors = usable_rows(rows, vectors, dim)
        if not kept:
            return 0
        keys = [str(rows.ids[row]) for row in kept]
        versions = None if rows.versions is None else [rows.versions[row] for row in kept]
        kind = self._kind(new)
        made = written(vectors, kind)
        return self.rows.connection.run(lambda opened: self._write(opened, keys, versions, made, kind))

    def build_index(self) -> str:
        """See `Replacement`; HNSW by the index's metric, built while the table is read and written."""
        new = beside(self.rows.table.vector, NEW)
        column = new if self.stage() != "cut over" else self.rows.table.vector
        dim, kind = self._width(column), self._kind(column)
        if dim is None:
            raise DataError("cannot build an index: no replacement has begun")
        if dim > WIDEST[kind]:
            return f"none: pgvector indexes {kind} up to {WIDEST[kind]:,} dimensions, searches read every row"
        ops = (self.rows.table.extension, f"{kind}_{_OPS[self.rows.metric]}")
        # a partitioned table cannot be indexed while it is written
        how = "" if self.rows.table.partitioned else "CONCURRENTLY "
        create = self._sql(f"CREATE INDEX {how}ON {{table}} USING hnsw ({{column}} {{ops}})", column=(column,), ops=ops)
        self.rows.connection.run(lambda opened: self._build(opened, column, create))
        return f"HNSW by {self.rows.metric}"

    def _cut_over(self, force: bool) -> None:
        """See `Replacement`; refused too where a view reads the old column, which it would go on to do."""
        expect_all(sum(len(rows) - len(rows.faults) for rows in self.missing()), force)
        if (views := self._views()) and not force:
            raise DataError(
                f"cannot cut over: {', '.join(views)} would go on with the old vectors, as views keep to a column "
                "when it is renamed; drop them and make them again afterwards, or cut over with force=true"
            )
        self._transaction(
            "DROP TRIGGER IF EXISTS {trigger} ON {table}",
            "ALTER TABLE {table} ALTER COLUMN {vector} DROP NOT NULL",
            "ALTER TABLE {table} RENAME COLUMN {vector} TO {old}",
            "ALTER TABLE {table} RENAME COLUMN {new} TO {vector}",
        )
        self.rows.find_again()

    def _roll_back(self) -> None:
        """See `Replacement`; rows inserted since `cut_over` have no old vector."""
        self._transaction(
            "ALTER TABLE {table} RENAME COLUMN {vector} TO {new}",
            "ALTER TABLE {table} RENAME COLUMN {old} TO {vector}",
            *self._watching(),
        )
        self.rows.find_again()

    def _drop_old(self) -> None:
        """See `Replacement`."""
        self._transaction("ALTER TABLE {table} DROP COLUMN {old}", "DROP FUNCTION IF EXISTS {function}()")
        self.rows.find_again()

    def _give_up(self) -> None:
        """See `Replacement`."""
        self._transaction(
            "DROP TRIGGER IF EXISTS {trigger} ON {table}",
            "ALTER TABLE {table} DROP COLUMN IF EXISTS {new}",
            "DROP FUNCTION IF EXISTS {function}()",
        )
        self.rows.find_again()

    def _other(self, stage: Stage) -> VectorIndex:
        """See `Replacement`."""
        return self._opened(beside(self.rows.table.vector, OLD if stage == "cut over" else NEW))

    def _read_note(self, stage: Stage) -> Note | None:
        """See `Replacement`."""
        table = self.rows.table
        asked = "SELECT col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = %s AND attname = %s"
        return note_of(self.rows.execute(asked, table.oid, self._made(stage))[0][0])

    def _keep_note(self, note: Note, stage: Stage) -> None:
        """See `Replacement`."""
        from psycopg.sql import SQL, Identifier, Literal

        table = self.rows.table
        column = Identifier(table.schema, table.name, self._made(stage))
        # a comment takes no bound values
        comment = SQL("COMMENT ON COLUMN {} IS {}").format(column, Literal(json.dumps(note)))
        self.rows.connection.run(lambda opened: opened.execute(comment))

    def _made(self, stage: Stage) -> str:
        """The column of the new vectors."""
        return self.rows.table.vector if stage == "cut over" else beside(self.rows.table.vector, NEW)

    def _watching(self) -> tuple[str, ...]:
        """A trigger that takes the new vector away from a row whose old one changes."""
        return (
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS"
            " $alignkit$ BEGIN NEW.{new} := NULL; RETURN NEW; END $alignkit$",
            "DROP TRIGGER IF EXISTS {trigger} ON {table}",
            "CREATE TRIGGER {trigger} BEFORE UPDATE OF {vector} ON {table} FOR EACH ROW"
            " WHEN (OLD.{vector} IS DISTINCT FROM NEW.{vector}) EXECUTE FUNCTION {function}()",
        )

    def _write(
        self, opened: psycopg.Connection, keys: list[str], versions: list[str] | None, made: np.ndarray, kind: str
    ) -> int:
        with opened.transaction(), opened.cursor() as cursor:
            staging = "CREATE TEMP TABLE alignkit_staging (id text, version text, made {kind}) ON COMMIT DROP"
            cursor.execute(self._sql(staging, kind=(self.rows.table.extension, kind)), ())
            with cursor.copy("COPY pg_temp.alignkit_staging FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text", "text", "bytea"])
                for key, version, vector in zip(keys, versions or repeat(None), made, strict=False):
                    copy.write_row((key, version, vector.tobytes()))
            update = (
                "UPDATE {table} AS t SET {new} = s.made FROM pg_temp.alignkit_staging AS s"
                " WHERE t.{id} = s.id::{id_type} AND t.xmin::text = coalesce(s.version, t.xmin::text)"
            )
            return cursor.execute(self._sql(update), ()).rowcount

    def _build(self, opened: psycopg.Connection, column: str, create: Composed) -> None:
        """Build the index unless it is there; one whose building was interrupted stays behind, useless."""
        found = opened.execute(
            "SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_am m ON m.oid = c.relam JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indrelid = %s AND a.attname = %s AND m.amname = 'hnsw'",
            (self.rows.table.oid, column),
        ).fetchall()
        for name, valid in found:
            if not valid:
                opened.execute(self._sql("DROP INDEX {index}", index=(self.rows.table.schema, name)), ())
        if not any(valid for _, valid in found):
            opened.execute(create, ())

    def _new_kind(self, dim: int) -> str:
        return "halfvec" if WIDEST["vector"] < dim <= WIDEST["halfvec"] else self.rows.table.vector_type

    def _width(self, column: str) -> int | None:
        found = self._column(column)
        return None if found is None else found[1]

    def _kind(self, column: str) -> str:
        found = self._column(column)
        return self.rows.table.vector_type if found is None else found[0]

    def _column(self, column: str) -> tuple[str, int] | None:
        found = self.rows.execute(
            "SELECT t.typname::text, a.atttypmod FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid"
            " WHERE a.attrelid = %s AND a.attname = %s AND NOT a.attisdropped",
            self.rows.table.oid,
            column,
        )
        return (found[0][0], found[0][1]) if found else None

    def _views(self) -> list[str]:
        found = self.rows.execute(
            "SELECT DISTINCT c.relname::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid"
            " JOIN pg_class c ON c.oid = r.ev_class JOIN pg_attribute a ON a.attrelid = d.refobjid"
            " AND a.attnum = d.refobjsubid"
            " WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = %s AND a.attname = %s ORDER BY 1",
            self.rows.table.oid,
            self.rows.table.vector,
        )
        return [name for (name,) in found]

    def _transaction(self, *queries: str, **names: tuple[str, ...]) -> None:
        """All or none; whoever waits for a busy table makes everybody behind wait too, so not for long."""

        def work(opened: psycopg.Connection) -> None:
            with opened.transaction():
                opened.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'")
                for query in queries:
                    opened.execute(self._sql(query, **names), ())

        self.rows.connection.run(work)

    def _sql(self, query: str, **names: tuple[str, ...]) -> Composed:
        table = self.rows.table
        stale = beside(f"{table.name}_{table.vector}", STALE)
        return self.rows.sql(query, function=(table.schema, stale), trigger=(stale,), **names)
