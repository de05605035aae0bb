"""A table of Parquet with new vectors in its column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.indexes.base import VectorIndex
from alignkit.indexes.file_replacement import FileReplacement
from alignkit.indexes.index_rows import IndexRows
from alignkit.indexes.parquet_reading import batches_from, open_parquet

ROWS_A_GROUP = 4096


class ParquetReplacement(FileReplacement):
    """See `FileReplacement`; the other columns are kept as they are, and rows without a usable vector get NULL.

    Args:
        index: over the table.
        path: of the table.
        reopen: as `FileReplacement` has it.
        opened: likewise.
        column: of the vectors.
    """

    def __init__(
        self,
        index: VectorIndex,
        path: Path,
        reopen: Callable[[], None],
        opened: Callable[[str], VectorIndex],
        column: str,
    ) -> None:
        super().__init__(index, path, reopen, opened)
        self.column = column

    def position(self, rows: IndexRows) -> int:
        """See `FileReplacement`."""
        return int(rows.cursor[1]) - len(rows)

    def build(self, vectors: np.ndarray, done: np.ndarray, out: Path) -> str:
        """See `FileReplacement`."""
        with open_parquet(self.path) as file:
            write_table(file, self.column, vectors, out)
        return f"a table of {len(vectors):,} rows"


def write_table(file: Any, column: str, vectors: np.ndarray, out: Path) -> None:
    """Copy a table batch by batch, with other vectors in one of its columns.

    Args:
        file: the table.
        column: of the vectors.
        vectors: `(N, D)` float16 or float32, row i for row i; all NaN where there is none.
        out: the new table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = file.schema_arrow.get_field_index(column)
    kind = pa.list_(pa.from_numpy_dtype(vectors.dtype), vectors.shape[1])
    schema = file.schema_arrow.set(place, pa.field(column, kind))
    row = 0
    with pq.ParquetWriter(out, schema, use_dictionary=False) as writer:
        for batch in batches_from(file, 0, ROWS_A_GROUP):
            part = np.ascontiguousarray(vectors[row : row + len(batch)])
            without = np.isnan(part[:, 0])
            mask = pa.array(without) if without.any() else None
            made = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), vectors.shape[1], mask=mask)
            columns = [*batch.columns[:place], made, *batch.columns[place + 1 :]]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            row += len(batch)
