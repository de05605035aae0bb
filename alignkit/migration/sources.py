"""Users' indexes: arrays of vectors, or Parquet tables with a vector column; read in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alignkit.errors import DataError, MissingExtraError
from alignkit.vector_files import EXTENSIONS, chosen_array, open_vectors

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET = ".parquet"


class Source(Protocol):
    """Vectors on disk.

    Attributes:
        path: of the file.
        rows: N.
        dim: D.
        dtype: of the stored numbers.
        key: which array of an archive or column of a table; None if the file holds a single array.
    """

    path: Path
    rows: int
    dim: int
    dtype: np.dtype
    key: str | None

    def blocks(self, start: int, rows: int) -> Iterator[np.ndarray]:
        """Yield `(at most rows, D)` arrays in order, from row `start` on."""
        ...


class ArraySource:
    """`.npy`, `.npz` or `.safetensors`."""

    def __init__(self, path: Path, key: str | None = None) -> None:
        self.path = path
        self._vectors = open_vectors(path, key)
        self.key = chosen_array(path, key)
        self.rows, self.dim = self._vectors.shape
        self.dtype = self._vectors.dtype

    def blocks(self, start: int, rows: int) -> Iterator[np.ndarray]:
        """See `Source`."""
        for first in range(start, self.rows, rows):
            yield self._vectors[first : first + rows]


class ParquetSource:
    """A column of lists of equal length; the other columns are kept as they are.

    Args:
        path: of the file.
        column: of the vectors; None takes the only column of lists of floats.

    Raises:
        DataError: if the file or the column cannot be used.
        MissingExtraError: without pyarrow.
    """

    def __init__(self, path: Path, column: str | None = None) -> None:
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError:
            raise MissingExtraError("pyarrow", "parquet") from None
        if not path.is_file():
            raise DataError(f"{path}: no such file")
        self.path = path
        try:
            self.file = pq.ParquetFile(path, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
        self.column = _vector_column(self.file.schema_arrow, column, path)
        self.key: str | None = self.column
        self.rows = self.file.metadata.num_rows
        if self.rows == 0:
            raise DataError(f"{path}: holds no rows")
        value = self.file.schema_arrow.field(self.column).type.value_type
        self.dtype = np.dtype({"halffloat": "f2", "float": "f4", "double": "f8"}[str(value)])
        self.dim = next(self.blocks(0, 1)).shape[1]

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def tables(self, start: int, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield batches of at most `rows` rows from row `start` on; row groups before it are not read."""
        groups, skip = self._groups_from(start)
        if not groups:
            return
        for batch in self.file.iter_batches(rows, row_groups=groups, columns=columns):
            if skip >= len(batch):
                skip -= len(batch)
                continue
            yield batch.slice(skip)
            skip = 0

    def blocks(self, start: int, rows: int) -> Iterator[np.ndarray]:
        """See `Source`."""
        row = start
        for batch in self.tables(start, rows, [self.column]):
            yield self._matrix(batch.column(0), row)
            row += len(batch)

    def _groups_from(self, start: int) -> tuple[list[int], int]:
        first = 0
        for group in range(self.file.num_row_groups):
            count = self.file.metadata.row_group(group).num_rows
            if start < first + count:
                return list(range(group, self.file.num_row_groups)), start - first
            first += count
        return [], 0

    def _matrix(self, column: Any, row: int) -> np.ndarray:
        if column.null_count:
            missing = int(np.flatnonzero(np.asarray(column.is_null()))[0])
            raise DataError(f"{self.path}: row {row + missing} has no vector in column '{self.column}'")
        values = np.asarray(column.flatten())
        lengths = np.asarray(column.value_lengths())
        dim = getattr(self, "dim", int(lengths[0]))
        if wrong := np.flatnonzero(lengths != dim).tolist():
            raise DataError(
                f"{self.path}: row {row + wrong[0]} has {lengths[wrong[0]]} numbers in '{self.column}', expected {dim}"
            )
        if len(values) != dim * len(column) or dim == 0:
            raise DataError(f"{self.path}: column '{self.column}' holds missing numbers near row {row}")
        return values.reshape(-1, dim)


def open_source(path: str | Path, key: str | None = None) -> ArraySource | ParquetSource:
    """The vectors of an index.

    Args:
        path: `.npy`, `.npz`, `.safetensors` or `.parquet`.
        key: which array of an archive, or which column of a table.

    Raises:
        DataError: if the file is missing, damaged, of another kind, or holds no vectors.
    """
    path = Path(path).expanduser()
    if path.suffix.lower() == PARQUET:
        return ParquetSource(path, key)
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{path}: expected one of {', '.join((*EXTENSIONS, PARQUET))}, got '{path.suffix}'")
    return ArraySource(path, key)


def _vector_column(schema: pa.Schema, column: str | None, path: Path) -> str:
    found = [name for name, kind in zip(schema.names, schema.types, strict=True) if _holds_vectors(kind)]
    if column is None and len(found) == 1:
        return found[0]
    if column is None or column not in found:
        shown = ", ".join(found) or "none"
        got = "no key" if column is None else f"'{column}'"
        raise DataError(f"{path}: columns of vectors (lists of floats): {shown}; expected one as key=…, got {got}")
    return column


def _holds_vectors(kind: pa.DataType) -> bool:
    import pyarrow as pa

    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and pa.types.is_floating(kind.value_type)
