"""A table of PostgreSQL with a column of pgvector's types."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import IndexDescription, Metric, VectorIndex
from alignkit.indexes.exact import query_matrix
from alignkit.indexes.filters import Filter, FilterError, conditions_of
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, in_order, joined, positions
from alignkit.indexes.pg_connection import HURRIED_WAITS_S, PgConnection
from alignkit.indexes.pg_filters import condition_sql
from alignkit.indexes.pg_reach import PgReach
from alignkit.indexes.pg_replacement import PgReplacement
from alignkit.indexes.pg_rows import PgRows
from alignkit.indexes.pg_table import VECTOR_TYPES, find_table, holds_vectors
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import check_columns, is_ours, payload_fields

if TYPE_CHECKING:
    from psycopg.sql import Composable

_IDS_AT_ONCE = 50_000
_NEAREST = (
    "SELECT {key}, t.{vector} {operator} %s::{type} AS distance FROM {table} AS t WHERE {rule} ORDER BY 2 LIMIT %s"
)
# no approximate index is used for what is materialized
_NEAREST_OF_PASSING = (
    "WITH passing AS MATERIALIZED (SELECT {key} AS key, t.{vector} {operator} %s::{type} AS distance"
    " FROM {table} AS t WHERE {rule}) SELECT key, distance FROM passing ORDER BY distance LIMIT %s"
)


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
        self._reach = PgReach(self.connection)
        self._opened = partial(PgvectorIndex, url=url, text=text, id=id, payload=payload)
        try:
            found = self.connection.run(partial(find_table, table=table, vector=vector, id=id))
            plain = [name for name, kind in found.columns.items() if not holds_vectors(kind)]
            fields = payload_fields(payload, plain, (found.id, text))
            asked = (("text", text), *(("payload", name) for name in fields))
            check_columns(asked, list(found.columns), found.name, found.vector)
            self.rows = PgRows(self.connection, found, text, fields, metric or found.metric or "cosine")
        except BaseException:
            self.close()
            raise

    @property
    def parallel(self) -> bool:
        """See `VectorIndex`."""
        return True

    def hurry(self) -> None:
        """See `VectorIndex`."""
        self.connection.waits_s = HURRIED_WAITS_S

    def close(self) -> None:
        """See `VectorIndex`."""
        self.connection.close()

    def describe(self) -> IndexDescription:
        """See `VectorIndex`."""
        rows, table = self.rows.execute("SELECT count(*) FROM {table} AS t")[0][0], self.rows.table
        place = f"table {table.schema}.{table.name}, column {table.vector}"
        dtype = VECTOR_TYPES[table.vector_type]
        return IndexDescription(rows, self.rows.dim, dtype, self.rows.metric, self._fields(), place)

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        while len(rows := self.rows.page(after, batch)):
            yield rows
            after = rows.cursor

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        one_of = "= ANY (%s::text[]::{id_type}[])"
        if self.rows.table.id_type.endswith("[]"):  # arrays of arrays are something else
            one_of = "IN (SELECT one::{id_type} FROM unnest(%s::text[]) AS one)"
        asked = "SELECT {columns} FROM {table} AS t WHERE t.{id} "
        texts = [text for text in map(str, ids) if "\0" not in text]  # PostgreSQL has none with that
        try:
            found = self.rows.execute(asked + one_of, texts)
        except DataError:  # of an id that the column's type cannot have; by texts, every row is read
            found = self.rows.execute(f"{asked}::text = ANY (%s)", texts)
        return in_order(self.rows.as_rows(found), ids)

    def sample(self, count: int, seed: int) -> IndexRows:
        """See `VectorIndex`; only the ids of the other rows are read."""
        chosen, found, first, after = positions(self.describe().rows, count, seed), [], 0, None
        while page := self.rows.keys("{key}", after, _IDS_AT_ONCE):
            here = chosen[(chosen >= first) & (chosen < first + len(page))] - first
            found += [page[row][0] for row in here.tolist()]
            first, after = first + len(page), str(page[-1][0])
        parts = [self.fetch(found[start : start + 4096]) for start in range(0, len(found), 4096)]
        return joined(parts) if parts else self.fetch([])

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; HNSW looks at `k` candidates at least, and as far as the server's settings say.

        Where too few of them pass, all rows that pass are compared.
        """
        queries, table = query_matrix(vectors, self.rows.dim), self.rows.table
        rule = condition_sql(conditions_of(where, self._fields(), f"table {table.name}"), table)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids: list[list[Id]] = []
        self._reach.extend(k, filtered=bool(where))
        for row, query in enumerate(queries):
            hits = self._hits(_NEAREST, query, k, *rule)
            if where and len(hits) < k:
                hits = self._hits(_NEAREST_OF_PASSING, query, k, *rule)
            ids.append([hit[0] for hit in hits])
            distances = np.array([hit[1] for hit in hits], np.float32)
            scores[row, : len(hits)] = 1 - distances if self.rows.metric == "cosine" else -distances
        return ids, scores

    def replacement(self) -> Replacement[VectorIndex]:
        """See `PgReplacement`."""
        table = f"{self.rows.table.schema}.{self.rows.table.name}"
        return PgReplacement(
            self.rows, lambda column: self._opened(table=table, vector=column, metric=self.rows.metric)
        )

    def _marks(self, rows: int) -> Iterator[tuple[Cursor, int]]:
        """See `VectorIndex`."""
        after = None
        while page := self.rows.keys("{key}", after, rows):
            after = str(page[-1][0])
            yield after, len(page)

    def _hits(self, query: str, vector: np.ndarray, k: int, rule: Composable, values: list[Any]) -> list[Any]:
        sent = f"[{','.join(map(repr, vector.tolist()))}]"
        if self.rows.table.dim is None:  # a column of any width, where one row of another would stop every search
            rule = self.rows.sql(f"{{vector_dims}}(t.{{vector}}) = {self.rows.dim} AND ") + rule
        try:
            found = self.rows.execute(query, sent, *values, k, rule=rule)
        except DataError as error:  # only the server knows all of its types' values
            raise FilterError(f"filter: {error}") if values else error from None
        # NULL and zero vectors have no distance, and come last
        return [hit for hit in found if hit[1] is not None and hit[1] == hit[1]]

    def _fields(self) -> tuple[str, ...]:
        return tuple(name for name in self.rows.table.columns if name != self.rows.table.vector and not is_ours(name))
