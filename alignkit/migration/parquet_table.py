"""Copies a Parquet table with new vectors in its vector column."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alignkit.files import move
from alignkit.migration.sources import ParquetSource

ROWS_A_GROUP = 4096


def write_table(source: ParquetSource, vectors: Path, out: Path) -> None:
    """Copy a table batch by batch, with vectors from an array of the same rows; atomic.

    Args:
        source: the table.
        vectors: `.npy` of `(N, D)` float16 or float32.
        out: the new table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = np.load(vectors, mmap_mode="r", allow_pickle=False)
    place = source.file.schema_arrow.get_field_index(source.column)
    kind = pa.list_(pa.from_numpy_dtype(made.dtype), made.shape[1])
    schema = source.file.schema_arrow.set(place, pa.field(source.column, kind))
    unfinished = out.with_name(out.name + ".table")
    row = 0
    with pq.ParquetWriter(unfinished, schema, use_dictionary=False) as writer:
        for batch in source.tables(0, ROWS_A_GROUP):
            part = np.ascontiguousarray(made[row : row + len(batch)])
            column = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), made.shape[1])
            writer.write_batch(
                pa.RecordBatch.from_arrays([*batch.columns[:place], column, *batch.columns[place + 1 :]], schema=schema)
            )
            row += len(batch)
    del made
    move(unfinished, out)
