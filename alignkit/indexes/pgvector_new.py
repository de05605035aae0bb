"""A new table of PostgreSQL, filled with the rows of another index."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.index_rows import Id, IndexRows
from alignkit.indexes.new_index import VERSION, NewIndex, taken
from alignkit.indexes.pg_connection import PgConnection
from alignkit.indexes.pg_kinds import key_kind
from alignkit.indexes.pg_place import PgPlace
from alignkit.indexes.pg_replacement import WIDEST
from alignkit.indexes.pg_rows import PgRows
from alignkit.indexes.pg_table import VECTOR_TYPES, PgTable
from alignkit.indexes.pgvector import PgvectorIndex
from alignkit.indexes.replacement import Note
from alignkit.indexes.replacing import note_of

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composed

_OPS: dict[Metric, str] = {"cosine": "cosine_ops", "dot": "ip_ops", "l2": "l2_ops"}


class NewPgvectorIndex(NewIndex):
    """A table with a column for ids, texts, vectors, and each field of the payload, whose types follow the values.

    A field with values of several types becomes `jsonb`, one with whole and other numbers `double precision`; ids of
    several types become texts. The note is the table's comment.

    Args:
        table: its name as it shall be stored, with its schema and a dot before it where that is another than usual.
        url: as `PgvectorIndex` has it.
        vector: the column of vectors; `None` for "embedding".
        text: the column of texts; `None` for "text".
        id: the column of ids, the primary key; `None` for "id".
        payload: all is kept.
        metric: that searches order by; `None` for that of the old index.
    """

    def __init__(
        self,
        table: str,
        url: str | None = None,
        vector: str | None = None,
        text: str | None = None,
        id: str | None = None,
        payload: Sequence[str] = (),
        metric: Metric | None = None,
    ) -> None:
        self.url, self.metric = url, metric
        self.place = f"table {table} of PostgreSQL"
        self.connection = PgConnection(url)
        try:
            self.names = PgPlace(*self._named(table), id or "id", text or "text", vector or "embedding")
        except BaseException:
            self.close()
            raise
        self.own_fields = (self.names.id, self.names.text, self.names.vector, VERSION)

    def close(self) -> None:
        """See `NewIndex`."""
        self.connection.close()

    @property
    def written_together(self) -> bool:
        """See `NewIndex`."""
        return True

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        kind = _vector_kind(dim)
        searched = "with an HNSW index" if dim <= WIDEST[kind] else "without an index, which pgvector has up to 4,000"
        return f"PostgreSQL gets a new table with a column of {kind}({dim}), {searched}, and one for each field"

    def note(self) -> Note | None:
        """See `NewIndex`."""
        state = self._state()
        return None if state is None else state["move"]

    def keep_note(self, note: Note) -> None:
        """See `NewIndex`."""
        state = self._state() or {}
        self._run(self._comment({**state, "move": note}))

    def begin(self, dim: int, metric: Metric, note: Note, like: IndexRows) -> None:
        """See `NewIndex`."""
        kind = _vector_kind(dim)
        text = "" if like.texts is None else "{text} text, "
        create = (
            f"CREATE TABLE {{table}} ({{id}} {key_kind(like.ids)} PRIMARY KEY, {text}{{vector}} {{kind}}({int(dim)}), "
            "{version} text)"
        )
        extension = self.connection.run(_extension)
        state = {"move": note, "metric": self.metric or metric}
        self._run(self.names.sql(create, kind=(extension, kind)), self._comment(state))

    def dim(self) -> int:
        """See `NewIndex`."""
        return self._table().dim or 0

    def versions(self, batch: int = 4096) -> Iterator[tuple[list[Id], list[str]]]:
        """See `NewIndex`."""
        rows, after = self._rows(), None
        while page := rows.keys("{key}, t.{payload0}", after, batch):
            yield [one for one, _ in page], [version or "" for _, version in page]
            after = str(page[-1][0])

    def put(self, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """See `NewIndex`; all or none of them."""
        self.connection.run(lambda opened: self.names.put(opened, rows, vectors, versions))

    def remove(self, ids: Sequence[Id]) -> None:
        """See `NewIndex`."""
        delete = f"DELETE FROM {{table}} WHERE {{id}} = ANY (%s::text[]::{self._table().id_type}[])"
        query = self.names.sql(delete, bound=True)
        self.connection.run(lambda opened: opened.execute(query, ([str(one) for one in ids],)))

    def build_index(self) -> str:
        """See `NewIndex`."""
        table, state = self._table(), self._state() or {}
        dim, kind, metric = table.dim or 0, table.vector_type, state.get("metric", "cosine")
        if dim > WIDEST[kind]:
            return f"none: pgvector indexes {kind} up to {WIDEST[kind]:,} dimensions, searches read every row"
        if table.metric is None:
            ops = (table.extension, f"{kind}_{_OPS[metric]}")
            self._run(self.names.sql("CREATE INDEX ON {table} USING hnsw ({vector} {ops})", ops=ops))
        return f"HNSW by {metric}"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        names = self.names
        text = names.text if names.text in self._table().columns else None
        return PgvectorIndex(f"{names.schema}.{names.name}", self.url, names.vector, text, names.id, ["*"])

    def give_up(self) -> None:
        """See `NewIndex`."""
        self._run(self.names.sql("DROP TABLE IF EXISTS {table}"))

    def finish(self) -> None:
        """See `NewIndex`."""
        self._run(
            self.names.sql("ALTER TABLE {table} DROP COLUMN IF EXISTS {version}"),
            self.names.sql("COMMENT ON TABLE {table} IS NULL"),
        )

    def _state(self) -> dict[str, Any] | None:
        asked = (
            "SELECT obj_description(c.oid, 'pg_class') FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
            " WHERE n.nspname = %s AND c.relname = %s"
        )
        names = self.names.schema, self.names.name
        found = self.connection.run(lambda opened: opened.execute(asked, names).fetchone())
        if found is None:
            return None
        state = note_of(found[0])
        if state is None or "move" not in state:
            raise taken(self.place)
        return state

    def _comment(self, state: dict[str, Any]) -> Composed:
        from psycopg.sql import SQL, Literal

        # a comment takes no bound values
        return self.names.sql("COMMENT ON TABLE {table} IS ") + SQL("{}").format(Literal(json.dumps(state)))

    def _named(self, table: str) -> tuple[str, str]:
        schema, _, name = table.partition(".")
        asked = "SELECT current_schema()::text, EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)"
        usual, known = self.connection.run(
            lambda opened: opened.execute(asked, (schema,)).fetchone() or ("public", False)
        )
        return (schema, name) if name and known else (usual or "public", table)

    def _table(self) -> PgTable:
        return self.connection.run(self.names.found)

    def _rows(self) -> PgRows:
        return PgRows(self.connection, self._table(), None, (VERSION,), "cosine")

    def _run(self, *queries: Composed) -> None:
        """All or none."""

        def work(opened: psycopg.Connection) -> None:
            with opened.transaction():
                for query in queries:
                    opened.execute(query)

        self.connection.run(work)


def _vector_kind(dim: int) -> str:
    return "vector" if dim <= WIDEST["vector"] else "halfvec"


def _extension(opened: psycopg.Connection) -> str:
    """The schema of pgvector's types.

    Raises:
        DataError: if the database does not have the extension.
    """
    asked = (
        "SELECT n.nspname::text FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typname = ANY (%s)"
    )
    found = opened.execute(asked, (list(VECTOR_TYPES),)).fetchone()
    if found is None:
        raise DataError(
            f"database {opened.info.dbname} does not have pgvector; its owner adds it with CREATE EXTENSION vector"
        )
    return str(found[0])
