"""Reads rows of a table of PostgreSQL, a page a query, with every name quoted and every value bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric
from alignkit.indexes.index_rows import Cursor, IndexRows
from alignkit.indexes.pg_connection import PgConnection, quoted
from alignkit.indexes.pg_table import PgTable, find_table
from alignkit.indexes.replacing import NEW, OLD, beside
from alignkit.indexes.usable import matrix_of, usable

if TYPE_CHECKING:
    from psycopg.sql import Composable, Composed

# types of keys that arrive as themselves; others arrive as text, dates too: there are some that Python has not
_PLAIN_IDS = {"smallint", "integer", "bigint", "text", "uuid", "numeric"}
_OPERATORS: dict[Metric, str] = {"cosine": "<=>", "dot": "<#>", "l2": "<->"}
_NUMBERS = {"vector": ">f4", "halfvec": ">f2"}
NUMBER_BYTES = {kind: np.dtype(number).itemsize for kind, number in _NUMBERS.items()}


class PgRows:
    """The rows of one table.

    Args:
        connection: to the server.
        table: as it was found; found again after its columns were renamed.
        text: the column of texts.
        payload: further columns.
        metric: that searches order by.
    """

    def __init__(
        self, connection: PgConnection, table: PgTable, text: str | None, payload: tuple[str, ...], metric: Metric
    ) -> None:
        self.connection, self.table, self.text, self.payload, self.metric = connection, table, text, payload, metric
        self.dim = table.dim or self._first_width()

    def find_again(self) -> None:
        """Take the column of vectors as it is now: of another width perhaps."""
        name, found = f"{self.table.schema}.{self.table.name}", self.table
        self.table = self.connection.run(lambda opened: find_table(opened, name, found.vector, found.id))
        self.dim = self.table.dim or self._first_width()

    def page(
        self, after: Cursor, batch: int, where: str = "true", *, versions: bool = False, until: Cursor = None
    ) -> IndexRows:
        """The rows behind a cursor, in the order of the key.

        Args:
            after: a key as text; `None` begins at the first row.
            batch: at most so many.
            where: a further condition, with `{names}` as `execute` has them.
            versions: whether to say which transaction wrote each row.
            until: the last key, as text; `None` for no such end.
        """
        found = self.keys("{columns}, t.xmin::text AS version" if versions else "{columns}", after, batch, where, until)
        if not versions:
            return self.as_rows(found)
        return replace(self.as_rows([row[:-1] for row in found]), versions=[row[-1] for row in found])

    def keys(
        self, columns: str, after: Cursor, batch: int, where: str = "true", until: Cursor = None
    ) -> list[tuple[Any, ...]]:
        """Some columns of the rows behind a cursor, and up to another."""
        # qualified: a bare name would be that of an output column
        ends = [(" AND t.{id} > %s::{id_type}", after), (" AND t.{id} <= %s::{id_type}", until)]
        given = [(rule, key) for rule, key in ends if key is not None]
        rules = where + "".join(rule for rule, _ in given)
        return self.execute(
            f"SELECT {columns} FROM {{table}} AS t WHERE {rules} ORDER BY t.{{id}} LIMIT %s",
            *(key for _, key in given),
            batch,
        )

    def execute(self, query: str, *values: Any, **further: tuple[str, ...] | Composable) -> list[tuple[Any, ...]]:
        """Rows of a query whose `{names}` are quoted as SQL has them, and whose values are bound."""
        composed = self.sql(query, **further)
        return self.connection.run(lambda opened: opened.cursor(binary=True).execute(composed, values).fetchall())

    def sql(self, query: str, **further: tuple[str, ...] | Composable) -> Composed:
        """A query with its `{names}` in place, and further ones: each with what it lies in before it, or as SQL."""
        from psycopg.sql import SQL

        table = self.table
        key = SQL("t.{}").format(quoted(table.id))
        names: dict[str, Composable] = {
            "table": quoted(table.schema, table.name),
            "id": quoted(table.id),
            "key": key if table.id_type in _PLAIN_IDS else SQL("{}::text").format(key),
            "id_type": SQL(table.id_type),  # the catalogue's own words
            "vector": quoted(table.vector),
            "new": quoted(beside(table.vector, NEW)),
            "old": quoted(beside(table.vector, OLD)),
            "type": quoted(table.extension, table.vector_type),
            "vector_dims": quoted(table.extension, "vector_dims"),
            "operator": SQL("OPERATOR({}.{})").format(quoted(table.extension), SQL(_OPERATORS[self.metric])),
            "text": quoted(self.text or ""),
            **{f"payload{place}": quoted(name) for place, name in enumerate(self.payload)},
            **{name: quoted(*part) if isinstance(part, tuple) else part for name, part in further.items()},
        }
        query = query.replace("{columns}", self._columns())
        return SQL(query).format(**{name: value for name, value in names.items() if f"{{{name}}}" in query})

    def as_rows(self, page: Sequence[tuple[Any, ...]]) -> IndexRows:
        """Rows of a query for `{columns}`."""
        vectors, faults = self._vectors([row[1] for row in page])
        first = 2 if self.text is None else 3
        return IndexRows(
            ids=[row[0] for row in page],
            vectors=vectors,
            texts=None if self.text is None else [row[2] or "" for row in page],
            payload=[dict(zip(self.payload, row[first:], strict=True)) for row in page]
            if self.payload
            else [{} for _ in page],
            cursor=str(page[-1][0]) if page else None,
            faults=faults,
        )

    def _columns(self) -> str:
        text = "" if self.text is None else ", t.{text}::text AS body"
        payload = "".join(f", to_jsonb(t.{{payload{place}}})" for place in range(len(self.payload)))
        return f"{{key}}, t.{{vector}}{text}{payload}"

    def _vectors(self, raw: Sequence[bytes | None]) -> tuple[np.ndarray, dict[int, str]]:
        """From pgvector's binary form: two bytes of width, two unused, then big-endian numbers."""
        numbers = np.dtype(_NUMBERS[self.table.vector_type])
        size = 4 + self.dim * numbers.itemsize
        whole = [one for one in raw if one is not None and len(one) == size]
        if len(whole) == len(raw):
            form = np.dtype([("head", "V4"), ("numbers", numbers, (self.dim,))])
            return usable(np.frombuffer(b"".join(whole), form)["numbers"])
        return matrix_of([None if one is None else np.frombuffer(one, numbers, offset=4) for one in raw], self.dim)

    def _first_width(self) -> int:
        found = self.execute("SELECT t.{vector} FROM {table} AS t WHERE t.{vector} IS NOT NULL LIMIT 1")
        if not found:
            raise DataError(f"table {self.table.name}: column {self.table.vector} holds no vectors")
        return (len(found[0][0]) - 4) // np.dtype(_NUMBERS[self.table.vector_type]).itemsize


def written(vectors: np.ndarray, kind: str) -> np.ndarray:
    """Vectors in pgvector's binary form.

    Args:
        vectors: `(N, D)` float32.
        kind: `vector` or `halfvec`.

    Returns:
        `(N,)` of one void each.
    """
    numbers = np.dtype(_NUMBERS[kind])
    form = np.dtype([("width", ">u2"), ("unused", ">u2"), ("numbers", numbers, (vectors.shape[1],))])
    out = np.zeros(len(vectors), form)
    out["width"], out["numbers"] = vectors.shape[1], vectors
    return out
