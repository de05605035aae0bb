"""Copies a Parquet table with new vectors in its vector column."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alignkit.files import move
from alignkit.indexes import parquet_replacement
from alignkit.migration.sources import ParquetSource


def write_table(source: ParquetSource, vectors: Path, out: Path) -> None:
    """Copy a table batch by batch, with vectors from an array of the same rows; atomic.

    Args:
        source: the table.
        vectors: `.npy` of `(N, D)` float16 or float32.
        out: the new table.
    """
    made = np.load(vectors, mmap_mode="r", allow_pickle=False)
    unfinished = out.with_name(out.name + ".table")
    parquet_replacement.write_table(source.file, source.column, made, unfinished)
    del made
    move(unfinished, out)
