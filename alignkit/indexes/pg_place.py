"""A table of PostgreSQL that is being filled: its names in SQL, and how rows get into it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.indexes.index_rows import IndexRows
from alignkit.indexes.new_index import VERSION
from alignkit.indexes.pg_kinds import JSON, key_kind, kind_of, wider
from alignkit.indexes.pg_rows import written
from alignkit.indexes.pg_table import PgTable, find_table
from alignkit.indexes.plain_values import plain_value

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composable, Composed

_SHORT = {"timestamp without time zone": "timestamp", "timestamp with time zone": "timestamptz"}


@dataclass(frozen=True)
class PgPlace:
    """Names of a table and of its own columns."""

    schema: str
    name: str
    id: str
    text: str
    vector: str

    def found(self, opened: psycopg.Connection) -> PgTable:
        """The table as it is now."""
        return find_table(opened, f"{self.schema}.{self.name}", self.vector, self.id)

    def sql(self, query: str, *, bound: bool = False, **names: tuple[str, ...]) -> Composed:
        """A query with its `{names}` quoted; where values are bound, a percent sign stands for one."""
        from psycopg.sql import SQL, Identifier

        known = {
            "table": (self.schema, self.name),
            "id": (self.id,),
            "text": (self.text,),
            "vector": (self.vector,),
            "version": (VERSION,),
            **names,
        }
        quoted = {
            name: Identifier(*(part.replace("%", "%%") if bound else part for part in parts))
            for name, parts in known.items()
        }
        return SQL(query).format(**{name: value for name, value in quoted.items() if f"{{{name}}}" in query})

    def put(self, opened: psycopg.Connection, rows: IndexRows, vectors: np.ndarray, versions: Sequence[str]) -> None:
        """Write rows in one transaction, in place of those with the same ids; see `NewIndex.put`."""
        names = dict.fromkeys(name for payload in rows.payload for name in payload)
        kinds = {name: kind for name in names if (kind := kind_of(one.get(name) for one in rows.payload)) is not None}
        with opened.transaction(), opened.cursor() as cursor:
            table = self.found(opened)
            # one after the other: two at once would insert the same row
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (table.oid,))
            table = self.found(opened)
            id_type = self._key_type(cursor, table, key_kind(rows.ids))
            kinds = self._columns(cursor, table, kinds)
            staging = (
                "CREATE TEMP TABLE alignkit_staging (id text, version text, body text, made {kind}, fields jsonb)"
                " ON COMMIT DROP"
            )
            cursor.execute(self.sql(staging, kind=(table.extension, table.vector_type)))
            with cursor.copy("COPY pg_temp.alignkit_staging FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(["text", "text", "text", "bytea", "jsonb"])
                for row in _staged(rows, vectors, versions, table.vector_type):
                    copy.write_row(row)
            cursor.execute(
                self.sql(
                    f"DELETE FROM {{table}} AS t USING pg_temp.alignkit_staging AS s WHERE t.{{id}} = s.id::{id_type}"
                )
            )
            cursor.execute(self._insert(id_type, kinds, with_texts=rows.texts is not None))

    def _key_type(self, cursor: psycopg.Cursor, table: PgTable, kind: str) -> str:
        """The type of the ids; text where they do not fit what is there."""
        if kind == table.id_type:
            return kind
        if table.id_type != "text":
            cursor.execute(self.sql("ALTER TABLE {table} ALTER COLUMN {id} TYPE text USING {id}::text"))
        return "text"

    def _columns(self, cursor: psycopg.Cursor, table: PgTable, kinds: dict[str, str]) -> dict[str, str]:
        """Columns for these fields, as wide as they must be; the type of each."""
        found = {}
        for name, kind in kinds.items():
            there = _SHORT.get(table.columns.get(name, ""), table.columns.get(name))
            found[name] = wider(there, kind) or kind
            if there is None:
                cursor.execute(self.sql(f"ALTER TABLE {{table}} ADD COLUMN {{column}} {kind}", column=(name,)))
            elif found[name] != there:
                how = "to_jsonb({column})" if found[name] == JSON else f"{{column}}::{found[name]}"
                change = f"ALTER TABLE {{table}} ALTER COLUMN {{column}} TYPE {found[name]} USING {how}"
                cursor.execute(self.sql(change, column=(name,)))
        return found

    def _insert(self, id_type: str, kinds: dict[str, str], *, with_texts: bool) -> Composed:
        from psycopg.sql import SQL, Identifier, Literal

        columns = [self.id, self.vector, VERSION]
        values: list[Composable] = [SQL(f"s.id::{id_type}"), SQL("s.made"), SQL("s.version")]
        if with_texts:
            columns.append(self.text)
            values.append(SQL("s.body"))
        for name, kind in kinds.items():
            columns.append(name)
            field = "nullif(s.fields -> {}, 'null')" if kind == JSON else f"(s.fields ->> {{}})::{kind}"
            values.append(SQL(field).format(Literal(name)))
        return SQL("INSERT INTO {} ({}) SELECT {} FROM pg_temp.alignkit_staging AS s").format(
            Identifier(self.schema, self.name), SQL(", ").join(map(Identifier, columns)), SQL(", ").join(values)
        )


def _staged(rows: IndexRows, vectors: np.ndarray, versions: Sequence[str], kind: str) -> list[tuple[Any, ...]]:
    from psycopg.types.json import Jsonb

    bare = np.isnan(vectors[:, 0])
    made = written(np.where(bare[:, None], np.float32(0), vectors), kind)
    texts = rows.texts if rows.texts is not None else [None] * len(rows)
    fields = [Jsonb(plain_value(one), dumps=json.dumps) for one in rows.payload]
    return [
        (str(one), version, text, None if bare[row] else made[row].tobytes(), field)
        for row, (one, version, text, field) in enumerate(zip(rows.ids, versions, texts, fields, strict=True))
    ]
