"""A vec0 table of sqlite-vec in a file of SQLite."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import IndexDescription, VectorIndex
from alignkit.indexes.exact import query_matrix
from alignkit.indexes.filters import Condition, Filter, conditions_of
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, in_order
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import check_columns, is_ours, payload_fields, setting
from alignkit.indexes.sqlite_file import SqliteFile, quoted
from alignkit.indexes.sqlite_vec_replacement import SqliteVecReplacement
from alignkit.indexes.usable import matrix_of
from alignkit.indexes.vec0_filters import vec0_filter
from alignkit.indexes.vec0_table import Vec0Table, find_vec0

# that vec0 finds at once
_MOST_HITS = 4096


class SqliteVecIndex(VectorIndex):
    """Rows in the order of vec0's own numbers, a page a query, so that rows which come and go meanwhile do no harm.

    Args:
        path: of the file.
        table: its name, made by `CREATE VIRTUAL TABLE … USING vec0`.
        vector: the column of vectors; `None` takes the only one.
        joined: an ordinary table of texts and payload, a row for each vector.
        id: the column of `joined` that equals the vectors' key; `None` takes its primary key.
        text: the column of texts, in either table; `None` for none.
        payload: further columns that are read with each row, of either table.

    Raises:
        DataError: if there is no such file, table or column.
        EngineError: if SQLite refuses.
        MissingExtraError: without apsw and sqlite-vec.
    """

    def __init__(
        self,
        path: str,
        table: str,
        vector: str | None = None,
        joined: str | None = None,
        id: str | None = None,
        text: str | None = None,
        payload: Sequence[str] = (),
    ) -> None:
        self.file = SqliteFile(path)
        self._opened = partial(SqliteVecIndex, path, joined=joined, id=id, text=text, payload=payload)
        self.text, self.joined = text, joined
        try:
            self.table = find_vec0(self.file, table, vector)
            self.joined_columns, self.joined_key = self._find_joined(joined, id)
            self.payload = payload_fields(payload, self._fields(), [self.table.key, self.joined_key, text])
            asked = (("text", text), *(("payload", one) for one in self.payload))
            check_columns(asked, [*self.joined_columns, *self.table.columns], table, self.table.vector)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """See `VectorIndex`."""
        self.file.close()

    def describe(self) -> IndexDescription:
        """See `VectorIndex`."""
        rows = self.file.rows(f"SELECT count(*) FROM {self.table.rowids}")[0][0]
        place = f"table {self.table.name}, column {self.table.vector}"
        return IndexDescription(rows, self.table.dim, "float32", self.table.metric, self._fields(), place)

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        while rows := self.file.rows(
            f"SELECT r.rowid, {self._columns()} FROM {self.table.rowids} AS r CROSS JOIN {self._tables()}"
            f" WHERE r.rowid > ? AND v.{quoted(self.table.key)} = r.{self.table.key_of_rowids}"
            " ORDER BY r.rowid LIMIT ?",
            -(2**63) if after is None else after,
            batch,
        ):
            after = rows[-1][0]
            yield self._rows([row[1:] for row in rows], after)

    @property
    def read_together(self) -> bool:
        """See `VectorIndex`."""
        return True

    def _marks(self, rows: int) -> Iterator[tuple[Cursor, int]]:
        """See `VectorIndex`."""
        query = f"SELECT rowid FROM {self.table.rowids} WHERE rowid > ? ORDER BY rowid LIMIT ?"
        after = -(2**63)
        while found := self.file.rows(query, after, rows):
            after = found[-1][0]
            yield after, len(found)

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        rows = self._rows(
            self.file.rows(
                f"SELECT {self._columns()} FROM (SELECT DISTINCT value FROM json_each(?)) AS r"
                f" CROSS JOIN {self._tables()} WHERE v.{quoted(self.table.key)} = r.value",
                json.dumps(self.table.possible(ids)),
            )
        )
        return in_order(rows, ids)

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; vec0 reads every vector. One that holds NaN can hide others from it."""
        queries = query_matrix(vectors, self.table.dim)
        limited, values = self._limited(conditions_of(where, self._fields(), f"table {self.table.name}"))
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids: list[list[Id]] = []
        for row, query in enumerate(queries):
            hits = self._nearest(query.tobytes(), k, limited, values)
            ids.append([one for one, _ in hits])
            distances = np.array([distance for _, distance in hits], np.float32)
            scores[row, : len(hits)] = 1 - distances if self.table.metric == "cosine" else -distances
        return ids, scores

    def replacement(self) -> Replacement[VectorIndex]:
        """See `SqliteVecReplacement`."""
        return SqliteVecReplacement(
            self, self.file, self.table, self._find_again, partial(self._opened, vector=self.table.vector)
        )

    def _find_again(self) -> Vec0Table:
        self.table = find_vec0(self.file, self.table.name, self.table.vector)
        return self.table

    def _nearest(self, query: bytes, k: int, limited: str, values: list[Any]) -> list[tuple[Id, float]]:
        key, table, vector = (quoted(name) for name in (self.table.key, self.table.name, self.table.vector))
        if k <= _MOST_HITS and self.table.metric is not None:
            asked = f"SELECT {key}, distance FROM {table} WHERE {vector} MATCH ? AND k = ?{limited}"
            hits = self.file.rows(asked, query, k, *values)
            if all(distance is not None for _, distance in hits):
                # those of several partitions come one after the other
                return sorted(hits, key=lambda hit: hit[1])[:k]
        measured = f"vec_distance_{self._metric()}({vector}, ?)"
        asked = f"SELECT {key}, {measured} AS far FROM {table} WHERE far IS NOT NULL{limited} ORDER BY far LIMIT ?"
        return self.file.rows(asked, query, *values, k)

    def _metric(self) -> str:
        return "cosine" if self.table.metric == "cosine" else "L2" if self.table.metric == "l2" else "L1"

    def _limited(self, conditions: tuple[Condition, ...]) -> tuple[str, list[Any]]:
        where = (quoted(self.joined), quoted(self.joined_key), self.joined_columns) if self.joined else None
        return vec0_filter(self.table, where, conditions)

    def _fields(self) -> tuple[str, ...]:
        names = dict.fromkeys([self.table.key, *self.table.columns, *self.joined_columns])
        return tuple(name for name in names if name not in self.table.vectors and not is_ours(name))

    def _columns(self) -> str:
        names = [name for name in (self.text, *self.payload) if name is not None]
        found = [f"{'d' if name in self.joined_columns else 'v'}.{quoted(name)}" for name in names]
        return ", ".join([f"v.{quoted(self.table.key)}", f"v.{quoted(self.table.vector)}", *found])

    def _tables(self) -> str:
        vectors = f"{quoted(self.table.name)} AS v"
        if self.joined is None:
            return vectors
        on = f"d.{quoted(self.joined_key)} = v.{quoted(self.table.key)}"
        return f"{vectors} LEFT JOIN {quoted(self.joined)} AS d ON {on}"

    def _find_joined(self, name: str | None, key: str | None) -> tuple[tuple[str, ...], str]:
        """The columns of the ordinary table, and that of them which equals the vectors' key."""
        if name is None:
            return (), ""
        found = self.file.rows("SELECT name, pk FROM pragma_table_info(?)", name)
        if not found:
            raise DataError(f"{setting('joined')}={name}: no such table in {self.file.path}")
        columns = tuple(column for column, _ in found)
        check_columns([("id", key)], columns, name, "")
        keys = [column for column, place in found if place]
        return columns, key or (keys[0] if len(keys) == 1 else "rowid")

    def _rows(self, found: Sequence[tuple[Any, ...]], cursor: Cursor = None) -> IndexRows:
        vectors, faults = matrix_of([np.frombuffer(row[1], np.float32) for row in found], self.table.dim)
        first = 2 if self.text is None else 3
        return IndexRows(
            ids=[row[0] for row in found],
            vectors=vectors,
            texts=None if self.text is None else ["" if row[2] is None else str(row[2]) for row in found],
            payload=[dict(zip(self.payload, row[first:], strict=True)) for row in found],
            cursor=cursor,
            faults=faults,
        )
