"""Users' indexes: arrays of vectors, or Parquet tables with a vector column; read in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.parquet_reading import batches_from, float_type, open_parquet, vector_column
from alignkit.object_storage.located import asked, located
from alignkit.vector_files import EXTENSIONS, chosen_array, open_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from alignkit.object_storage.located import Place

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

    path: Place
    rows: int
    dim: int
    dtype: np.dtype
    key: str | None

    def blocks(self, start: int, rows: int) -> Iterator[np.ndarray]:
        """Yield `(at most rows, D)` arrays in order, from row `start` on."""
        ...


class ArraySource:
    """`.npy`, `.npz` or `.safetensors`."""

    def __init__(self, path: Place, key: str | None = None) -> None:
        self.path = path
        self._vectors = open_rows(path, key)
        self.key = chosen_array(path, key)
        self.rows, self.dim = int(self._vectors.shape[0]), int(self._vectors.shape[1])
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

    def __init__(self, path: Place, column: str | None = None) -> None:
        self.path = path
        self.file = open_parquet(path)
        self.column = vector_column(self.file.schema_arrow, column, path, "key")
        self.key: str | None = self.column
        self.rows = self.file.metadata.num_rows
        if self.rows == 0:
            raise DataError(f"{path}: holds no rows")
        self.dtype = np.dtype(float_type(self.file.schema_arrow, self.column))
        self.dim = next(self.blocks(0, 1)).shape[1]

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def tables(self, start: int, rows: int, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield batches of at most `rows` rows from row `start` on; row groups before it are not read."""
        with asked(self.path):
            yield from batches_from(self.file, start, rows, columns)

    def blocks(self, start: int, rows: int) -> Iterator[np.ndarray]:
        """See `Source`."""
        row = start
        for batch in self.tables(start, rows, [self.column]):
            yield self._matrix(batch.column(0), row)
            row += len(batch)

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


def open_source(path: str | Place, key: str | None = None) -> ArraySource | ParquetSource:
    """The vectors of an index.

    Args:
        path: `.npy`, `.npz`, `.safetensors` or `.parquet`, on a disk or in object storage.
        key: which array of an archive, or which column of a table.

    Raises:
        DataError: if the file is missing, damaged, of another kind, or holds no vectors.
    """
    path = located(path)
    if path.suffix.lower() == PARQUET:
        return ParquetSource(path, key)
    if path.suffix.lower() not in EXTENSIONS:
        raise DataError(f"{path}: expected one of {', '.join((*EXTENSIONS, PARQUET))}, got '{path.suffix}'")
    return ArraySource(path, key)
