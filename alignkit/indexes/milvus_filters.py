"""Conditions on the rows of a collection of Milvus as its expressions."""

from __future__ import annotations

from collections.abc import Collection

from alignkit.indexes.filters import Condition, Scalar, is_number, mismatch
from alignkit.indexes.milvus_calls import literal
from alignkit.indexes.milvus_fields import MilvusFields

_SIGNS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "ne": "!="}
_NUMBERS = {"INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE"}
NOTHING = "nothing passes"


def milvus_filter(conditions: tuple[Condition, ...], fields: MilvusFields, lists: Collection[str]) -> str:
    """The expression for the conditions, `""` for none, `NOTHING` where no row can pass.

    Args:
        conditions: all of which must hold.
        fields: of the collection.
        lists: fields that hold lists, one of whose values must fit.

    Raises:
        FilterError: if a field is compared with a value of another type.
    """
    found = []
    for one in conditions:
        if not one.values:
            return NOTHING
        _check(one, fields.kinds.get(one.field))
        name = one.field if one.field in fields.kinds else _inside(one.field, fields)
        if one.operator != "in":
            found.append(f"{name} {_SIGNS[one.operator]} {literal(one.value)}")
            continue
        same = [_same(name, value) for value in one.values]
        if one.field in lists and one.field.isidentifier():
            same += [f"json_contains({one.field}, {literal(value)})" for value in one.values]
        found.append(f"({' or '.join(same)})")
    return " and ".join(found)


def _same(name: str, value: Scalar) -> str:
    return f"{name} == {literal(value)}"


def _inside(field: str, fields: MilvusFields) -> str:
    """What is not declared lies in the field of the others, or in a declared one that holds JSON."""
    parts = field.split(".")
    start = parts.pop(0) if parts[0] in fields.kinds else "$meta"
    return start + "".join(f"[{literal(part)}]" for part in parts)


def _check(one: Condition, kind: str | None) -> None:
    if kind == "VARCHAR" and not all(isinstance(value, str) for value in one.values):
        raise mismatch(one, "texts")
    if kind in _NUMBERS and not all(is_number(value) for value in one.values):
        raise mismatch(one, "numbers")
    if kind == "BOOL" and not all(isinstance(value, bool) for value in one.values):
        raise mismatch(one, "true and false")
