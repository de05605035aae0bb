"""Conditions on the rows of a vec0 table as SQL, its values apart."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from alignkit.indexes.filters import Condition, is_number, mismatch
from alignkit.indexes.sqlite_file import quoted
from alignkit.indexes.vec0_table import Vec0Table

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "ne": "!="}
_WHOLE, _TRUTHS = ("int", "integer"), ("bool", "boolean")


_Lies = tuple[str, str, tuple[str, ...]]


def vec0_filter(table: Vec0Table, joined: _Lies | None, conditions: tuple[Condition, ...]) -> tuple[str, list[Any]]:
    """What a query of a vec0 table needs behind its other conditions, and the values to be bound.

    vec0 applies conditions on its own columns while it searches. All others choose the keys beforehand: it would apply
    those to its hits, and give fewer.

    Args:
        table: that is searched.
        joined: the ordinary table beside it: its name and key, quoted, and its columns.
        conditions: all of which must hold.

    Raises:
        FilterError: if a column is compared with a value of another type.
    """
    direct, chosen, values, chosen_values = "", [], [], []
    for one in conditions:
        kind = table.filtered.get(one.field)
        if kind is not None and _is_direct(one, kind, bound := _of_kind(one, kind), table):
            direct += f" AND {quoted(one.field)} {'=' if one.operator == 'in' else _SIGNS[one.operator]} ?"
            values += bound
            continue
        if one.field == table.key:
            lies, key, column = table.rowids, table.key_of_rowids, table.key_of_rowids
            compared, bound = _compared(one, column, column)
        else:
            own = (quoted(table.name), quoted(table.key), table.columns)
            column, (lies, key, _) = _column(one.field, [joined, own] if joined else [own])
            compared, bound = _compared(one, one.field, column)
        chosen.append(f"SELECT {key} FROM {lies} WHERE {compared}")
        chosen_values += bound
    if chosen:
        direct += f" AND {quoted(table.key)} IN ({' INTERSECT '.join(chosen)})"
    return direct, values + chosen_values


def _column(field: str, tables: Sequence[_Lies]) -> tuple[str, _Lies]:
    """The column of a field, or that which it lies in, and the first table that has it."""
    names = [field, *(field[:place] for place, sign in enumerate(field) if sign == ".")]
    return next((name, table) for name in names for table in tables if name in table[2])


def _is_direct(one: Condition, kind: str, values: list[Any], table: Vec0Table) -> bool:
    """Whether vec0 applies it while it searches: to partitions, true and false it applies equality alone."""
    if kind in _WHOLE and any(isinstance(value, float) for value in values):
        return False
    if one.operator == "in":
        return len(values) == 1
    return one.field not in table.partitioned and kind not in _TRUTHS


def _of_kind(one: Condition, kind: str) -> list[Any]:
    """The values as vec0 wants them for a column of this type: it compares others as if they were of it."""
    if kind == "text":
        if not all(isinstance(value, str) for value in one.values):
            raise mismatch(one, "texts")
        return list(one.values)
    if kind in _TRUTHS:
        if not all(value in (0, 1) for value in one.values):
            raise mismatch(one, "true and false")
        return [int(bool(value)) for value in one.values]
    if not all(is_number(value) for value in one.values):
        raise mismatch(one, "numbers")
    if kind in ("float", "double", "real"):
        return [float(value) for value in one.values]
    return [int(value) if value == int(value) else value for value in one.values]


def _compared(one: Condition, field: str, column: str) -> tuple[str, list[Any]]:
    """One condition on an ordinary column, or on what lies inside one that holds JSON."""
    value, bound = quoted(column), []
    if field != column:
        value = f"CASE WHEN json_valid({value}) THEN json_extract({value}, ?) END"
        bound = ["$" + "".join(f'."{part}"' for part in field[len(column) + 1 :].split("."))]
    if one.operator == "in":
        return f"{value} IN (SELECT value FROM json_each(?))", [*bound, json.dumps(list(one.values))]
    # SQLite compares values of all types: texts are greater than numbers
    kinds = "'text'" if isinstance(one.value, str) else "'integer', 'real'"
    return f"typeof({value}) IN ({kinds}) AND {value} {_SIGNS[one.operator]} ?", [*bound, *bound, one.value]
