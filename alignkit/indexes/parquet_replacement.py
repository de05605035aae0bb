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
        columns: of ids, `None` where rows are counted, and of vectors.
    """

    def __init__(
        self,
        index: VectorIndex,
        path: Path,
        reopen: Callable[[], None],
        opened: Callable[[str], VectorIndex],
        columns: tuple[str | None, str],
    ) -> None:
        super().__init__(index, path, reopen, opened)
        self.id, self.column = columns

    def repeated(self) -> int:
        """See `FileReplacement`."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.id is None:
            return 0
        with open_parquet(self.path) as file:
            ids = file.read([self.id]).column(self.id)
        try:
            return len(ids) - int(pc.count_distinct(ids, mode="all").as_py())
        except pa.ArrowNotImplementedError:  # of a type that it does not know
            return len(ids) - len(set(ids.to_pylist()))

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

    kind = pa.list_(pa.from_numpy_dtype(vectors.dtype), vectors.shape[1])
    names = list(file.schema_arrow.names)
    place = names.index(column)
    schema = file.schema_arrow.set(place, file.schema_arrow.field(place).with_type(kind).with_nullable(True))
    row = 0
    with pq.ParquetWriter(out, schema, use_dictionary=False, compression=_compression(file, column)) as writer:
        # the old vectors are read only where there is nothing else to count rows by
        for batch in batches_from(file, 0, ROWS_A_GROUP, [one for one in names if one != column] or None):
            part = np.ascontiguousarray(vectors[row : row + len(batch)])
            without = np.isnan(part[:, 0])
            mask = pa.array(without) if without.any() else None
            made = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), vectors.shape[1], mask=mask)
            columns = [made if one == column else batch.column(one) for one in names]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            row += len(batch)


def _compression(file: Any, column: str) -> dict[str, str] | str:
    """Each column's own; numbers of vectors hardly get smaller, and take long to try."""
    import pyarrow as pa

    own = {}
    for number in range(file.metadata.num_columns if file.num_row_groups else 0):
        leaf = file.metadata.row_group(0).column(number)
        codec, others = leaf.compression.lower(), leaf.path_in_schema.split(".list.")[0] != column
        if others and codec != "uncompressed" and pa.Codec.is_available(codec):
            own[leaf.path_in_schema] = codec
    return own or "none"
