"""Reads tables of Parquet from any row on, and finds their columns of vectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alignkit.errors import DataError
from alignkit.extras import needing
from alignkit.indexes.replacing import is_beside
from alignkit.object_storage.located import asked, is_there

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from alignkit.object_storage.located import Place


def open_parquet(path: Place, *, memory_map: bool = True) -> pq.ParquetFile:
    """A table, on a disk or in object storage.

    Raises:
        DataError: if it is missing, or not a Parquet file.
        MissingExtraError: without pyarrow.
    """
    with needing("parquet", "pyarrow"):
        import pyarrow as pa
        import pyarrow.parquet as pq
    if not is_there(path):
        raise DataError(f"{path}: no such file")
    try:
        if isinstance(path, Path):
            return pq.ParquetFile(path, memory_map=memory_map)
        with asked(path):
            # a request for each chunk of a column, and nothing ahead of it
            return pq.ParquetFile(path.fs.open(path.path, "rb", cache_type="none"), memory_map=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None


def batches_from(
    file: pq.ParquetFile, start: int, rows: int, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield batches of at most `rows` rows from row `start` on; row groups before it are not read."""
    groups, skip = _groups_from(file, start)
    if not groups:
        return
    for batch in file.iter_batches(rows, row_groups=groups, columns=columns):
        if skip >= len(batch):
            skip -= len(batch)
            continue
        yield batch.slice(skip)
        skip = 0


def _groups_from(file: pq.ParquetFile, start: int) -> tuple[list[int], int]:
    first = 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if start < first + count:
            return list(range(group, file.num_row_groups)), start - first
        first += count
    return [], 0


def vector_column(schema: pa.Schema, column: str | None, place: object, setting: str) -> str:
    """The column of vectors.

    Args:
        schema: of the table.
        column: the one that is asked for; `None` takes the only one.
        place: of the table, for the message.
        setting: that names the column, for the message.

    Raises:
        DataError: if there is none, or several and none is named.
    """
    found = [name for name, kind in zip(schema.names, schema.types, strict=True) if _holds_vectors(kind)]
    # while vectors are being replaced, the others lie in a column beside
    found = [name for name in found if name == column or not is_beside(name)]
    if column is None and len(found) == 1:
        return found[0]
    if column is None or column not in found:
        shown = ", ".join(found) or "none"
        got = f"no {setting}" if column is None else f"'{column}'"
        raise DataError(
            f"{place}: columns of vectors (lists of floats): {shown}; expected one as {setting}=…, got {got}"
        )
    return column


def check_ids(schema: pa.Schema, column: str, place: object, setting: str) -> None:
    """Refuse a column whose values cannot name rows.

    Args:
        schema: of the table.
        column: of ids.
        place: of the table, for the message.
        setting: that names the column, for the message.

    Raises:
        DataError: if they are lists or the like.
    """
    import pyarrow as pa

    if pa.types.is_nested(kind := schema.field(column).type):
        raise DataError(f"{place}: {setting}={column}: expected numbers, texts or other single values, got {kind}")


def _holds_vectors(kind: pa.DataType) -> bool:
    import pyarrow as pa

    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return lists and pa.types.is_floating(kind.value_type)


def float_type(schema: pa.Schema, column: str) -> str:
    """The type of the numbers in a column of vectors, as NumPy calls it."""
    return {"halffloat": "float16", "float": "float32", "double": "float64"}[str(schema.field(column).type.value_type)]
