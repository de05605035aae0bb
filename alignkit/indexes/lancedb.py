"""A table of LanceDB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.extras import needing
from alignkit.indexes.arrow_vectors import matrix_of_column, texts_of_column, usual_width
from alignkit.indexes.base import IndexDescription, Metric, VectorIndex
from alignkit.indexes.exact import query_matrix
from alignkit.indexes.filters import Filter, conditions_of
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, in_order
from alignkit.indexes.lance_filters import lance_sql
from alignkit.indexes.lance_ids import rows_with
from alignkit.indexes.lance_refusals import lance_refusals
from alignkit.indexes.lancedb_replacement import LancedbReplacement
from alignkit.indexes.parquet_reading import check_ids, float_type, vector_column
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import check_columns, is_ours, payload_fields, setting

_METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")


class LancedbIndex(VectorIndex):
    """Rows in the order of one version of the table, which a cursor names: what is written meanwhile is not seen.

    Args:
        path: of the database, a folder or the address of a bucket.
        table: its name.
        vector: the column of vectors; `None` takes the only one.
        text: the column of texts; `None` for none.
        id: the column of ids.
        payload: further columns that are read with each row.
        metric: that `search` orders by; `None` takes that of the column's approximate index, else the cosine.

    Raises:
        DataError: if there is no such table or column.
        MissingExtraError: without lancedb and pylance.
    """

    def __init__(
        self,
        path: str,
        table: str,
        vector: str | None = None,
        text: str | None = None,
        id: str = "id",
        payload: Sequence[str] = (),
        metric: Metric | None = None,
    ) -> None:
        with needing("lancedb"):
            import lance  # noqa: F401 - the table's own scanner
            import lancedb
        if "://" not in path and not Path(path).expanduser().is_dir():
            raise DataError(f"{path}: no such folder; expected that of a LanceDB database")
        self.path, self.name, self.text, self.id = path, table, text, id
        self.database = lancedb.connect(path if "://" in path else Path(path).expanduser())
        try:
            self.table: Any = self.database.open_table(table)
        except (ValueError, FileNotFoundError):
            there = ", ".join(self.database.list_tables().tables) or "none"
            raise DataError(f"{setting('table')}={table}: no such table in {path}; there are: {there}") from None
        self.schema = self.table.schema
        self.vector = vector_column(self.schema, vector, f"table {table}", setting("vector"))
        self.payload = payload_fields(payload, self.schema.names, (id, text, self.vector))
        asked = (("id", id), ("text", text), *(("payload", one) for one in self.payload))
        check_columns(asked, self.schema.names, table, self.vector)
        check_ids(self.schema, id, f"table {table}", setting("id"))
        self.metric: Metric = metric or self._indexed_metric() or "cosine"
        self.dim = self._width()

    @property
    def parallel(self) -> bool:
        """See `VectorIndex`."""
        return True

    def describe(self) -> IndexDescription:
        """See `VectorIndex`."""
        self.table.checkout_latest()
        dtype, place = float_type(self.schema, self.vector), f"table {self.name}, column {self.vector}"
        return IndexDescription(self.table.count_rows(), self.dim, dtype, self.metric, self._fields(), place)

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        version, offset = after or (None, 0)
        dataset = self._dataset(version)
        scanner = dataset.scanner(columns=self._columns(), batch_size=batch, offset=offset or None, scan_in_order=True)
        parts = scanner.to_batches()
        while (part := _next(parts)) is not None:
            for start in range(0, len(part), batch):
                piece = part.slice(start, batch)
                offset += len(piece)
                yield self._rows(piece, [dataset.version, offset])

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        with lance_refusals():
            found = rows_with(self._dataset(None), self.id, ids, self._columns())
        rows = self._rows(_one_batch(found), None)
        return in_order(rows, ids)

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; with as many probes as the engine takes by itself.

        Where these find too few rows that pass, all rows that pass are compared.
        """
        queries = query_matrix(vectors, self.dim)
        rule = lance_sql(conditions_of(where, self._fields(), f"table {self.name}"), self.schema)
        scores = np.full((len(queries), k), -np.inf, np.float32)
        ids: list[list[Id]] = [[] for _ in queries]
        for row, query in enumerate(queries):
            found, distances = self._hits(query, k, rule)
            if rule and len(found) < k:
                found, distances = self._hits(query, k, rule, exact=True)
            ids[row], scores[row, : len(found)] = found, self._score(distances)
        return ids, scores

    def replacement(self) -> Replacement[VectorIndex]:
        """See `LancedbReplacement`."""
        columns = (self.id, self.vector)

        def opened(column: str) -> VectorIndex:
            return LancedbIndex(self.path, self.name, column, self.text, self.id, self.payload, self.metric)

        return LancedbReplacement(self, self.database, self.table, columns, self.metric, self._open, opened)

    def _marks(self, rows: int) -> Iterator[tuple[Cursor, int]]:
        """See `VectorIndex`."""
        dataset = self._dataset(None)
        count = dataset.count_rows()
        for start in range(0, count, rows):
            yield [dataset.version, min(start + rows, count)], min(rows, count - start)

    def _hits(self, query: np.ndarray, k: int, rule: str, exact: bool = False) -> tuple[list[Id], np.ndarray]:
        asked = self.table.search(query, vector_column_name=self.vector).distance_type(self.metric).limit(k)
        if rule:
            asked = asked.where(rule, prefilter=True)
        if exact:
            asked = asked.bypass_vector_index()
        with lance_refusals():
            found = asked.select([self.id, "_distance"]).to_arrow()
        distances = np.asarray(found.column("_distance"), np.float32)
        usable = np.isfinite(distances)
        kept = [one for one, good in zip(found.column(self.id).to_pylist(), usable, strict=True) if good]
        return kept, distances[usable]

    def _fields(self) -> tuple[str, ...]:
        return tuple(name for name in self.schema.names if name != self.vector and not is_ours(name))

    def _open(self) -> None:
        self.table.checkout_latest()
        self.schema = self.table.schema
        self.dim = self._width()

    def _dataset(self, version: int | None) -> Any:
        self.table.checkout_latest()
        dataset = self.table.to_lance()
        if version is None or version == dataset.version:
            return dataset
        try:
            return dataset.checkout_version(version)
        except (ValueError, OSError):
            raise DataError(
                f"table {self.name}: version {version}, at which this scan began, has been cleaned up; begin again"
            ) from None

    def _columns(self) -> list[str]:
        return [name for name in dict.fromkeys((self.id, self.vector, self.text, *self.payload)) if name]

    def _rows(self, part: Any, cursor: Cursor) -> IndexRows:
        vectors, faults = matrix_of_column(part.column(self.vector), self.dim)
        return IndexRows(
            ids=part.column(self.id).to_pylist(),
            vectors=vectors,
            texts=None if self.text is None else texts_of_column(part.column(self.text)),
            payload=part.select(list(self.payload)).to_pylist() if self.payload else [{} for _ in range(len(part))],
            cursor=cursor,
            faults=faults,
        )

    def _score(self, distances: np.ndarray) -> np.ndarray:
        """The engine's `dot` is 1 minus the product, its `l2` a square."""
        return -np.sqrt(np.maximum(distances, 0)) if self.metric == "l2" else 1 - distances

    def _indexed_metric(self) -> Metric | None:
        for index in self.table.list_indices():
            if self.vector in index.columns:
                statistics = self.table.index_stats(index.name)
                if statistics is not None and statistics.distance_type in _METRICS:
                    return next(metric for metric in _METRICS if metric == statistics.distance_type)
        return None

    def _width(self) -> int:
        kind = self.schema.field(self.vector).type
        batches = self._dataset(None).scanner(columns=[self.vector], batch_size=4096).to_batches()
        width = getattr(kind, "list_size", None) or usual_width(part.column(0) for part in batches)
        if not width:
            raise DataError(f"table {self.name}: column '{self.vector}' holds no vectors")
        return int(width)


@lance_refusals()
def _next(parts: Iterator[Any]) -> Any:
    return next(parts, None)


def _one_batch(table: Any) -> Any:
    import pyarrow as pa

    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)
