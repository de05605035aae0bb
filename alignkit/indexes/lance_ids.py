"""Finds rows of a table of LanceDB by their ids, of whatever type; its own filters know only some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from alignkit.indexes.index_rows import Id

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 4096
# what Arrow raises for a value that a type does not have; its own exceptions among them
_WRONG = (OverflowError, TypeError, ValueError, NotImplementedError)


def ids_of(dataset: Any, column: str) -> pa.ChunkedArray:
    """The ids of all rows, in their order."""
    import pyarrow as pa

    found = dataset.scanner(columns=[column], scan_in_order=True).to_table().column(column)
    return found.cast(found.type.value_type) if pa.types.is_dictionary(found.type) else found


def rows_with(dataset: Any, column: str, ids: Sequence[Id], columns: list[str]) -> pa.Table:
    """The rows of these ids, in the order of the table; ids that it does not hold, or cannot, are left out."""
    import pyarrow.compute as pc

    there = ids_of(dataset, column)
    return dataset.take(pc.indices_nonzero(pc.is_in(there, value_set=_as_array(ids, there.type))), columns=columns)


def held(dataset: Any, column: str, ids: Sequence[Id]) -> set[Id]:
    """Those of the ids that the table holds."""
    import pyarrow.compute as pc

    there = ids_of(dataset, column)
    return set(there.filter(pc.is_in(there, value_set=_as_array(ids, there.type))).to_pylist())


def looked_up(dataset: Any, column: str, wanted: Any, wanted_ids: pa.ChunkedArray) -> Iterator[pa.RecordBatch]:
    """A column of one table for the rows of another, some at a time; NULL for ids that it does not hold.

    Args:
        dataset: that holds the column.
        column: of ids in it.
        wanted: the field to give.
        wanted_ids: of the rows of the other table, in their order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    places = pc.index_in(wanted_ids, value_set=ids_of(dataset, column).combine_chunks()).combine_chunks()
    for start in range(0, len(places), _ROWS_AT_ONCE):
        part = places.slice(start, _ROWS_AT_ONCE)
        found = dataset.take(part.drop_null(), columns=[wanted.name]).column(0).combine_chunks()
        if part.null_count:
            spread = pc.subtract(pc.cumulative_sum(pc.cast(part.is_valid(), pa.int64())), 1)
            found = found.take(pc.if_else(part.is_valid(), spread, None))
        yield pa.RecordBatch.from_arrays([found], schema=pa.schema([wanted]))


def _as_array(ids: Sequence[Id], kind: pa.DataType) -> pa.Array:
    """Ids of another type are taken by their text."""
    import pyarrow as pa

    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pa.array([str(one) for one in ids], kind)
    try:
        return pa.array(list(ids), kind)
    except _WRONG:
        return pa.array([found for one in ids if (found := _fitting(one, kind)) is not None], kind)


def _fitting(one: Id, kind: pa.DataType) -> Any:
    """The id as the column has it; `None` for one that no row can have."""
    import pyarrow as pa

    for given in (lambda: pa.array([one], kind), lambda: pa.array([str(one)]).cast(kind)):
        try:
            found = given()[0].as_py()
        except _WRONG:
            continue
        # a whole number is made of a fraction without a word
        return found if str(found) == str(one) else None
    return None
