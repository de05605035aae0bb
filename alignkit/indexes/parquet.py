"""A table of Parquet, or a folder of them, as an index: a column of vectors beside texts and whatever else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.arrow_vectors import matrix_of_column, texts_of_column, usual_width
from alignkit.indexes.base import IndexDescription, Metric, VectorIndex
from alignkit.indexes.exact import exact_search
from alignkit.indexes.filters import Condition, Filter, conditions_of, passes
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, in_order, joined, picked
from alignkit.indexes.parquet_reading import batches_from, check_ids, float_type, open_parquet, vector_column
from alignkit.indexes.parquet_replacement import ParquetReplacement
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.replacing import is_beside, is_ours, payload_fields, setting
from alignkit.object_storage.located import asked, files_below, is_folder, located

if TYPE_CHECKING:
    import pyarrow as pa

    from alignkit.object_storage.located import Place

_SUFFIX = ".parquet"


class ParquetIndex(VectorIndex):
    """Rows in the order of the file, or of the files' names in a folder.

    A cursor names a file and a row in it, so that files which are added behind it do no harm.

    Args:
        path: of a `.parquet`, or of a folder of them, on a disk or in object storage.
        vector: the column of vectors, lists of floats; `None` takes the only one.
        text: the column of texts; `None` for none.
        id: the column of ids; `None` counts the rows from 0.
        payload: further columns that are read with each row.
        metric: by which `search` orders, which is exact: it reads the whole table.

    Raises:
        DataError: if there is no such table or column.
        MissingExtraError: without pyarrow.
    """

    def __init__(
        self,
        path: str,
        vector: str | None = None,
        text: str | None = None,
        id: str | None = None,
        payload: Sequence[str] = (),
        metric: Metric = "cosine",
    ) -> None:
        self.path = located(path)
        self.files = _files_at(self.path)
        with open_parquet(self.files[0]) as file:
            self.schema = file.schema_arrow
        self.vector = vector_column(self.schema, vector, self.path, setting("vector"))
        self.text, self.id, self.metric = text, id, metric
        self.payload = payload_fields(payload, self.schema.names, (id, text, self.vector))
        for name, column in (("text", text), ("id", id), *(("payload", one) for one in self.payload)):
            if column is not None and column not in self.schema.names:
                known = ", ".join(one for one in self.schema.names if one != self.vector) or "none"
                raise DataError(f"{self.path}: {setting(name)}={column}: no such column; the others are: {known}")
        if id is not None:
            check_ids(self.schema, id, self.path, setting("id"))
        self.dim = self._width()

    def describe(self) -> IndexDescription:
        """See `VectorIndex`."""
        rows = sum(self._rows_of(path) for path in self.files)
        dtype = float_type(self.schema, self.vector)
        return IndexDescription(
            rows, self.dim, dtype, self.metric, self._fields(), f"{self.path}, column {self.vector}"
        )

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        yield from self._scan(after, batch, self.payload)

    @property
    def read_together(self) -> bool:
        """See `VectorIndex`."""
        return True

    def _marks(self, rows: int) -> Iterator[tuple[Cursor, int]]:
        """See `VectorIndex`."""
        for path in self.files:
            count = self._rows_of(path)
            for start in range(0, count, rows):
                yield [path.name, min(start + rows, count)], min(rows, count - start)

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`; it reads the table once."""
        wanted = {str(one) for one in ids}
        found = [
            picked(rows, here)
            for rows in self.scan()
            if (here := [i for i, one in enumerate(rows.ids) if str(one) in wanted])
        ]
        return in_order(joined(found), ids)

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; exact."""
        conditions = conditions_of(where, self._fields(), str(self.path))
        return exact_search(self, vectors, k, self._passing(conditions) if conditions else None)

    def replacement(self) -> Replacement[VectorIndex]:
        """See `ParquetReplacement`; for one file, since a folder cannot be replaced at once."""
        if is_folder(self.path):
            raise DataError(f"{self.path}: a folder cannot be replaced at once; give its files one by one")
        opened = partial(
            ParquetIndex, vector=self.vector, text=self.text, id=self.id, payload=self.payload, metric=self.metric
        )
        if not isinstance(self.path, Path):
            raise DataError(
                f"{self.path}: what lies in object storage cannot be renamed, so nothing takes its place; move it to "
                "another file: vectors=… out=…, without source=, or to another engine: target="
            )
        return ParquetReplacement(self, self.path, self._open, opened, (self.id, self.vector))

    def _scan(self, after: Cursor, batch: int, payload: Sequence[str]) -> Iterator[IndexRows]:
        name, start = after or (self.files[0].name, 0)
        first = 0
        for path in self.files:
            if path.name >= name:
                skipped = start if path.name == name else 0
                yield from self._rows(path, skipped, first, batch, payload)
            first += self._rows_of(path)

    def _passing(self, conditions: Sequence[Condition]) -> Iterator[IndexRows]:
        fields = self._fields()
        asked = {one.field if one.field in fields else one.field.partition(".")[0] for one in conditions}
        for rows in self._scan(None, 4096, sorted(asked)):
            if kept := [row for row, payload in enumerate(rows.payload) if passes(payload, conditions)]:
                yield picked(rows, kept)

    def _fields(self) -> tuple[str, ...]:
        return tuple(name for name in self.schema.names if name != self.vector and not is_ours(name))

    def _open(self) -> None:
        with open_parquet(self.files[0]) as file:
            self.schema = file.schema_arrow
        self.dim = self._width()

    def _rows(self, path: Place, start: int, first: int, batch: int, payload: Sequence[str]) -> Iterator[IndexRows]:
        columns = [name for name in dict.fromkeys((self.id, self.vector, self.text, *payload)) if name]
        row = start
        with open_parquet(path) as file, asked(path):
            if missing := [name for name in columns if name not in file.schema_arrow.names]:
                raise DataError(f"{path}: has no column '{missing[0]}', which {self.files[0].name} beside it has")
            for part in batches_from(file, start, batch, columns):
                vectors, faults = matrix_of_column(part.column(self.vector), self.dim)
                end = row + len(part)
                yield IndexRows(
                    ids=self._ids(part, path, row, first),
                    vectors=vectors,
                    texts=None if self.text is None else texts_of_column(part.column(self.text)),
                    payload=part.select(list(payload)).to_pylist() if payload else [{} for _ in range(len(part))],
                    cursor=[path.name, end],
                    faults=faults,
                )
                row = end

    def _ids(self, part: pa.RecordBatch, path: Place, row: int, first: int) -> list[Id]:
        if self.id is None:
            return list(range(first + row, first + row + len(part)))
        ids = part.column(self.id).to_pylist()
        if None in ids:
            raise DataError(f"{path}: row {row + ids.index(None)} has no id in column '{self.id}'; give every row one")
        return ids

    def _width(self) -> int:
        for path in self.files:
            with open_parquet(path) as file:
                vector_column(file.schema_arrow, self.vector, path, setting("vector"))
                if width := usual_width(part.column(0) for part in batches_from(file, 0, 4096, [self.vector])):
                    return width
        raise DataError(f"{self.path}: holds no vectors in column '{self.vector}'")

    @staticmethod
    def _rows_of(path: Place) -> int:
        with open_parquet(path) as file:
            return int(file.metadata.num_rows)


def _files_at(path: Place) -> list[Place]:
    if is_folder(path):
        if not (files := [one for one in files_below(path, _SUFFIX) if not is_beside(one.stem)]):
            raise DataError(f"{path}: this folder holds no {_SUFFIX} files")
        return files
    if path.suffix.lower() != _SUFFIX:
        raise DataError(f"{path}: expected a {_SUFFIX} file or a folder of them")
    return [path]
