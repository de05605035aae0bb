"""Rows with payload of any shape as tables of Arrow: each field gets the type that holds all its values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from alignkit.indexes.arrow_vectors import column_of_matrix
from alignkit.indexes.index_rows import IndexRows

if TYPE_CHECKING:
    import pyarrow as pa


def whole_batches(read: Callable[[], Iterator[IndexRows]], id: str, text: str, vector: str) -> Iterator[pa.RecordBatch]:
    """All rows as batches of one schema, in bounded memory.

    A field whose values have no type in common becomes JSON; one that has no value anywhere is left out.

    Args:
        read: gives the rows from the first on, payload of plain values, ids all numbers or all texts; called twice.
        id: the column of ids.
        text: the column of texts, if there are any.
        vector: the column of vectors.
    """
    import pyarrow as pa

    kinds = _kinds_of(rows.payload for rows in read())
    for rows in read():
        whole = all(isinstance(one, int) for one in rows.ids)
        columns = {id: pa.array(rows.ids, pa.int64() if whole else pa.string())}
        if rows.texts is not None:
            columns[text] = pa.array(rows.texts, pa.string())
        columns[vector] = column_of_matrix(rows.vectors)
        for name, kind in kinds.items():
            values = [one.get(name) for one in rows.payload]
            if kind is None:
                values = [None if one is None else json.dumps(one, ensure_ascii=False) for one in values]
            columns[name] = pa.array(values, pa.string() if kind is None else kind)
        yield pa.RecordBatch.from_pydict(columns)


def _kinds_of(batches: Iterable[Sequence[dict[str, Any]]]) -> dict[str, pa.DataType | None]:
    """The type of each field; `None` for one whose values have none in common."""
    import pyarrow as pa

    found: dict[str, pa.DataType | None] = {}
    for payloads in batches:
        for name in dict.fromkeys(name for one in payloads for name in one):
            kind = _kind([one.get(name) for one in payloads])
            if name in found and (found[name] is None or kind is None):
                found[name] = None
            else:
                found[name] = kind if name not in found else _both(found[name], kind)
    # only a field without a value is of type null as a whole
    return {
        name: None if kind is None else _storable(kind)
        for name, kind in found.items()
        if kind is None or not pa.types.is_null(kind)
    }


def _kind(values: list[Any]) -> pa.DataType | None:
    import pyarrow as pa

    try:
        # `infer_type` finds a type for values that have none in common
        return pa.array(values).type
    except (pa.ArrowException, OverflowError):
        return None


def _both(one: pa.DataType | None, other: pa.DataType | None) -> pa.DataType | None:
    import pyarrow as pa

    try:
        merged = pa.unify_schemas(
            [pa.schema([("field", one)]), pa.schema([("field", other)])], promote_options="permissive"
        )
    except pa.ArrowException:
        return None
    return merged.field("field").type


def _storable(kind: pa.DataType) -> pa.DataType | None:
    """The type with texts for what never had a value, which some files do not know; `None` if it has empty structs."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_list(kind):
        within = _storable(kind.value_type)
        return None if within is None else pa.list_(within)
    if pa.types.is_struct(kind):
        fields = [(kind.field(place).name, _storable(kind.field(place).type)) for place in range(kind.num_fields)]
        return None if not fields or any(one is None for _, one in fields) else pa.struct(fields)
    return kind
