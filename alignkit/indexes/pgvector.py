"""A table of PostgreSQL with a column of pgvector's types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import (
    Cursor,
    Id,
    IndexDescription,
    IndexRows,
    Metric,
    VectorIndex,
    joined,
    picked,
    positions,
)
from alignkit.indexes.exact import query_matrix
from alignkit.indexes.pg_connection import PgConnection, quoted
from alignkit.indexes.pg_table import VECTOR_TYPES, check_columns, find_table
from alignkit.indexes.usable import matrix_of, usable

if TYPE_CHECKING:
    import psycopg
    from psycopg.sql import Composable, Composed

# types of keys that arrive as themselves; others arrive as text
_PLAIN_IDS = {"smallint", "integer", "bigint", "text", "uuid", "date", "numeric"}
_OPERATORS: dict[Metric, str] = {"cosine": "<=>", "dot": "<#>", "l2": "<->"}
_IDS_AT_ONCE = 50_000
_NUMBERS = {"vector": ">f4", "halfvec": ">f2"}


class PgvectorIndex(VectorIndex):
    """Rows in the order of their key, a page a query, so that rows which come and go meanwhile do no harm.

    Args:
        table: its name as it is stored, with its schema and a dot before it where the search path needs that.
        url: `postgresql://user@host:port/database`; `None` takes libpq's own variables, PGPASSWORD among them.
        vector: the column of vectors; `None` takes the only one.
        text: the column of texts; `None` for none.
        id: the column that names the rows, unique and not null; `None` takes the primary key.
        payload: further columns that are read with each row.
        metric: that `search` orders by; `None` takes that of the column's approximate index, else the cosine.

    Raises:
        ConfigError: if the URL is none.
        DataError: if there is no such table, key or column.
        EngineError: if the server cannot be reached, or refuses.
        MissingExtraError: without psycopg.
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
        self.connection = PgConnection(url)
        try:
            self.table = self.connection.run(partial(find_table, table=table, vector=vector, id=id))
            self.text, self.payload = text, tuple(payload)
            check_columns(self.table, [("text", text), *(("payload", name) for name in self.payload)])
            self.metric: Metric = metric or self.table.metric or "cosine"
            self.dim = self.table.dim or self._first_width()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `VectorIndex`."""
        self.connection.close()

    def describe(self) -> IndexDescription:
        """See `VectorIndex`."""
        rows = self._execute("SELECT count(*) FROM {table} AS t")[0][0]
        fields = tuple(name for name in self.table.columns if name != self.table.vector)
        place = f"table {self.table.schema}.{self.table.name}, column {self.table.vector}"
        return IndexDescription(rows, self.dim, VECTOR_TYPES[self.table.vector_type], self.metric, fields, place)

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        while True:
            rows = self._rows(self._page(self._columns(), after, batch))
            if not len(rows):
                return
            yield rows
            after = rows.cursor

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        rows = self._rows(
            self._execute(
                "SELECT {columns} FROM {table} AS t WHERE t.{id} = ANY (%s::text[]::{id_type}[])",
                [_key(one) for one in ids],
            )
        )
        place = {_key(one): row for row, one in enumerate(rows.ids)}
        return picked(rows, [place[_key(one)] for one in ids if _key(one) in place])

    def sample(self, count: int, seed: int) -> IndexRows:
        """See `VectorIndex`; only the ids of the other rows are read."""
        chosen, found, first, after = positions(self.describe().rows, count, seed), [], 0, None
        while page := self._page("{key}, t.{id}::text AS cursor", after, _IDS_AT_ONCE):
            here = chosen[(chosen >= first) & (chosen < first + len(page))] - first
            found += [page[row][0] for row in here.tolist()]
            first, after = first + len(page), page[-1][1]
        parts = [self.fetch(found[start : start + 4096]) for start in range(0, len(found), 4096)]
        return joined(parts) if parts else self.fetch([])

    def search(self, vectors: np.ndarray, k: int) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; HNSW looks at `k` candidates at least, and as far as the server's settings say."""
        queries = query_matrix(vectors, self.dim)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids: list[list[Id]] = []
        self._execute(
            "SELECT set_config('hnsw.ef_search', least(1000, greatest(%s::int,"
            " coalesce(nullif(current_setting('hnsw.ef_search', true), ''), '40')::int))::text, false)",
            k,
        )
        asked = (
            "SELECT {key}, t.{vector} {operator} %s::{type} AS distance FROM {table} AS t"
            " ORDER BY t.{vector} {operator} %s::{type} LIMIT %s"
        )
        for row, query in enumerate(queries):
            written = f"[{','.join(map(repr, query.tolist()))}]"
            # NULL and zero vectors have no distance, and come last
            hits = [hit for hit in self._execute(asked, written, written, k) if hit[1] is not None and hit[1] == hit[1]]
            ids.append([hit[0] for hit in hits])
            distances = np.array([hit[1] for hit in hits], np.float32)
            scores[row, : len(hits)] = 1 - distances if self.metric == "cosine" else -distances
        return ids, scores

    def _columns(self) -> str:
        text = "" if self.text is None else ", t.{text}::text AS body"
        payload = "".join(f", to_jsonb(t.{{payload{place}}})" for place in range(len(self.payload)))
        return f"{{key}}, t.{{id}}::text AS cursor, t.{{vector}}{text}{payload}"

    def _page(self, columns: str, after: Cursor, rows: int) -> list[tuple[Any, ...]]:
        # qualified: a bare name would be that of an output column
        start = "" if after is None else " WHERE t.{id} > %s::{id_type}"
        bound = [rows] if after is None else [after, rows]
        return self._execute(f"SELECT {columns} FROM {{table}} AS t{start} ORDER BY t.{{id}} LIMIT %s", *bound)

    def _execute(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Rows of a query whose `{names}` are quoted as SQL has them, and whose values are bound."""
        return self.connection.run(
            lambda connection: self._cursor(connection).execute(self._sql(query), values).fetchall()
        )

    @staticmethod
    def _cursor(connection: psycopg.Connection) -> psycopg.Cursor:
        return connection.cursor(binary=True)

    def _sql(self, query: str) -> Composed:
        from psycopg.sql import SQL

        table = self.table
        key = SQL("t.{}").format(quoted(table.id))
        names: dict[str, Composable] = {
            "table": quoted(table.schema, table.name),
            "id": quoted(table.id),
            "key": key if table.id_type in _PLAIN_IDS else SQL("{}::text").format(key),
            "id_type": SQL(table.id_type),  # the catalogue's own words
            "vector": quoted(table.vector),
            "type": quoted(table.extension, table.vector_type),
            "operator": SQL("OPERATOR({}.{})").format(quoted(table.extension), SQL(_OPERATORS[self.metric])),
            "text": quoted(self.text or ""),
            **{f"payload{place}": quoted(name) for place, name in enumerate(self.payload)},
        }
        query = query.replace("{columns}", self._columns())
        return SQL(query).format(**{name: value for name, value in names.items() if f"{{{name}}}" in query})

    def _rows(self, page: Sequence[tuple[Any, ...]]) -> IndexRows:
        first = 3 if self.text is None else 4
        vectors, faults = self._vectors([row[2] for row in page])
        return IndexRows(
            ids=[row[0] for row in page],
            vectors=vectors,
            texts=None if self.text is None else [row[3] or "" for row in page],
            payload=[dict(zip(self.payload, row[first:], strict=True)) for row in page],
            cursor=page[-1][1] if page else None,
            faults=faults,
        )

    def _vectors(self, raw: Sequence[bytes | None]) -> tuple[np.ndarray, dict[int, str]]:
        """From pgvector's binary form: two bytes of width, two unused, then big-endian numbers."""
        numbers = np.dtype(_NUMBERS[self.table.vector_type])
        size = 4 + self.dim * numbers.itemsize
        if all(one is not None and len(one) == size for one in raw):
            form = np.dtype([("head", "V4"), ("numbers", numbers, (self.dim,))])
            return usable(np.frombuffer(b"".join(raw), form)["numbers"])  # type: ignore[arg-type]
        return matrix_of([None if one is None else np.frombuffer(one, numbers, offset=4) for one in raw], self.dim)

    def _first_width(self) -> int:
        found = self._execute("SELECT t.{vector} FROM {table} AS t WHERE t.{vector} IS NOT NULL LIMIT 1")
        if not found:
            raise DataError(f"table {self.table.name}: column {self.table.vector} holds no vectors")
        return (len(found[0][0]) - 4) // np.dtype(_NUMBERS[self.table.vector_type]).itemsize


def _key(one: Id) -> str:
    return str(one)
