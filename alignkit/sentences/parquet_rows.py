"""Rows of Parquet, with only the needed columns: next to a text there may be a vector of 10 KB."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignkit.errors import DataError
from alignkit.extras import needing

_ROWS_AT_ONCE = 4096


def parquet_columns(path: Path) -> list[str]:
    """Names of the columns.

    Raises:
        DataError: if it is not a Parquet file.
        MissingExtraError: without pyarrow.
    """
    with _opened(path) as table:
        return list(table.schema_arrow.names)


def parquet_rows(path: Path, columns: Collection[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows, numbered from 1, read in batches.

    Args:
        path: of the file.
        columns: which of the existing columns to read; None for all.

    Raises:
        DataError: if it is not a Parquet file.
        MissingExtraError: without pyarrow.
    """
    with _opened(path) as table:
        wanted = [name for name in table.schema_arrow.names if columns is None or name in columns]
        line = 0
        for batch in table.iter_batches(batch_size=_ROWS_AT_ONCE, columns=wanted):
            for row in batch.to_pylist():
                line += 1
                yield line, row


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with needing("parquet", "pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    try:
        with path.open("rb") as file:
            yield pq.ParquetFile(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from None
