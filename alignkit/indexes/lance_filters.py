"""Conditions on the columns of a table of LanceDB, in the only form that its engine takes: a text of SQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from alignkit.indexes.filters import Condition, FilterError, Scalar, is_number, mismatch

if TYPE_CHECKING:
    import pyarrow as pa

_SIGNS = {"in": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def lance_sql(conditions: Sequence[Condition], schema: pa.Schema) -> str:
    """All the conditions, with names and values quoted.

    Raises:
        FilterError: if a column cannot be compared with such a value.
    """
    return " AND ".join(f"({_one(condition, schema)})" for condition in conditions)


def _one(condition: Condition, schema: pa.Schema) -> str:
    import pyarrow as pa

    column, kind = _column(condition.field, schema)
    if not pa.types.is_list(kind) and not pa.types.is_large_list(kind):
        column, values = _compared(condition, column, kind)
        if condition.operator == "in":
            return f"{column} IN ({', '.join(values)})" if values else "false"
        return f"{column} {_SIGNS[condition.operator]} {values[0]}"
    if condition.operator not in ("in", "ne"):
        raise FilterError(f"filter: field '{condition.field}' holds lists, which LanceDB cannot compare by size")
    values = [_literal(condition, value, kind.value_type) for value in condition.values]
    has = " OR ".join(f"array_has({column}, {value})" for value in values) or "false"
    return has if condition.operator == "in" else f"array_length({column}) > 0 AND NOT ({has})"


def _column(field: str, schema: pa.Schema) -> tuple[str, pa.DataType]:
    import pyarrow as pa

    first, *inside = field.split(".")
    kind, path = schema.field(first).type, [first]
    for name in inside:
        known = [one.name for one in kind] if pa.types.is_struct(kind) else []
        if name not in known:
            outer, there = ".".join(path), ", ".join(known) or "nothing"
            raise FilterError(f"filter: field '{outer}' has nothing called '{name}' inside; it has {there}")
        kind = kind.field(name).type
        path.append(name)
    if any("`" in name for name in path):
        raise FilterError(f"filter: LanceDB cannot name the field '{field}' in a condition; rename the column")
    return ".".join(f"`{name}`" for name in path), kind


def _compared(condition: Condition, column: str, kind: pa.DataType) -> tuple[str, list[str]]:
    """The column and the values, both of one type."""
    import pyarrow as pa

    if pa.types.is_integer(kind) and any(isinstance(value, float) for value in condition.values):
        column, kind = f"CAST({column} AS DOUBLE)", pa.float64()
    return column, [_literal(condition, value, kind) for value in condition.values]


def _literal(condition: Condition, value: Scalar, kind: pa.DataType) -> str:
    import pyarrow as pa

    got = Condition(condition.field, condition.operator, (value,))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        if not is_number(value):
            raise mismatch(got, "numbers")
        if pa.types.is_integer(kind):
            try:
                pa.scalar(value, kind)
            except (OverflowError, pa.ArrowInvalid):
                raise mismatch(got, f"numbers of {kind}") from None
        return repr(value)
    if pa.types.is_boolean(kind):
        if not isinstance(value, bool):
            raise mismatch(got, "true or false")
        return str(value).lower()
    if not isinstance(value, str):
        raise mismatch(got, "texts")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _quoted(value)
    try:
        read: Any = pa.scalar(value).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise mismatch(got, f"values of {kind}, as texts") from None
    name = "date" if pa.types.is_date(kind) else "timestamp"
    return f"{name} {_quoted(str(read.as_py()))}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
