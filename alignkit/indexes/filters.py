"""Which rows of an index a search may find: conditions on their other fields, the same for every engine."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from alignkit.errors import DataError

Scalar = str | int | float | bool
Filter = Mapping[str, Any]
Operator = Literal["in", "ne", "gt", "gte", "lt", "lte"]
_COMPARE: dict[Operator, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_COMPARING: tuple[Operator, ...] = (*_COMPARE, "ne")
_LONGEST_SHOWN = 60
_KINDS: dict[type, str] = {str: "texts", bool: "true or false", int: "numbers", float: "numbers"}


class FilterError(DataError):
    """A filter does not fit the index: who asks can mend it."""


@dataclass(frozen=True)
class Condition:
    """One condition on one field.

    A row without a value in that field passes none, `ne` included. Where the field holds a list, one of its values must
    pass; for `ne` all of them.

    Attributes:
        field: its name.
        operator: `in` is equality with any of the values; no row passes where there are none.
        values: what the field is compared with; exactly one, but for `in`.
    """

    field: str
    operator: Operator
    values: tuple[Scalar, ...]

    @property
    def value(self) -> Scalar:
        """The only value."""
        return self.values[0]


def conditions_of(where: Filter | None, fields: Sequence[str], place: str) -> tuple[Condition, ...]:
    """The conditions of a filter, all of which must hold.

    Args:
        where: field → a value it equals, a list of them, or `{"gt" | "gte" | "lt" | "lte" | "ne": value}`.
        fields: that the index has; `a.b` is `b` inside the field `a`.
        place: what the index is called, for messages.

    Raises:
        FilterError: if there is no such field, or a condition is none of these.

    >>> conditions_of({"lang": "en", "year": {"gte": 2000, "lt": 2010}}, ["lang", "year"], "docs")[1]
    Condition(field='year', operator='gte', values=(2000,))
    """
    if where is None:
        return ()
    if not isinstance(where, Mapping):
        raise FilterError(f"filter: expected an object of fields and conditions, got {_kind(where)}")
    found: list[Condition] = []
    for field, condition in where.items():
        first, *inside = str(field).split(".")
        if field not in fields and (first not in fields or "" in inside):
            # it comes from a client
            shown, known = " ".join(str(field).split())[:_LONGEST_SHOWN], ", ".join(fields) or "none"
            raise FilterError(f"filter: {place} has no field '{shown}'; its fields are: {known}")
        found += _of_field(field, condition)
    return tuple(found)


def passes(row: Mapping[str, Any], conditions: Sequence[Condition]) -> bool:
    """Whether a row passes every condition, for engines that cannot tell by themselves.

    Args:
        row: field → value; dates, times and the like are compared with texts in ISO form.
        conditions: as `conditions_of` gives them.

    Raises:
        FilterError: if a value cannot be compared with that of its field.

    >>> passes({"tags": ["a", "b"], "at": {"year": 2001}}, conditions_of({"tags": "b", "at.year": {"gt": 2000}},
    ...        ["tags", "at"], "docs"))
    True
    """
    return all(_passes(_inside(row, one.field), one) for one in conditions)


def mismatch(condition: Condition, expected: str) -> FilterError:
    """What is raised where a field cannot be compared with a value of that kind."""
    return FilterError(f"filter: field '{condition.field}' takes {expected}, got {_kind(condition.value)}")


def is_number(value: object) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _inside(row: Mapping[str, Any], field: str) -> Any:
    if field in row:
        return row[field]
    value: Any = row
    for part in field.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _passes(value: Any, condition: Condition) -> bool:
    there = [one for one in (value if isinstance(value, list) else [value]) if one is not None]
    if not there:
        return False
    if condition.operator == "in":
        return any(one == _like(one, wanted, condition) for one in there for wanted in condition.values)
    wanted = [_like(one, condition.value, condition) for one in there]
    if condition.operator == "ne":
        return all(one != other for one, other in zip(there, wanted, strict=True))
    return any(_COMPARE[condition.operator](one, other) for one, other in zip(there, wanted, strict=True))


def _like(value: Any, wanted: Scalar, condition: Condition) -> Any:
    """What is wanted, as something that can be compared with a value of the row."""
    if type(value) is type(wanted) or (is_number(value) and is_number(wanted)):
        return wanted
    try:
        return _of_zone(value, type(value).fromisoformat(wanted))
    except (AttributeError, TypeError, ValueError):
        # Decimal, UUID …
        if isinstance(value, str | bool | int | float | Mapping):
            expected = "other values" if isinstance(value, Mapping) else _KINDS[type(value)]
            raise mismatch(Condition(condition.field, condition.operator, (wanted,)), expected) from None
    try:
        return type(value)(wanted)
    except (TypeError, ValueError, ArithmeticError):
        got = Condition(condition.field, condition.operator, (wanted,))
        raise mismatch(got, f"values of {type(value).__name__}, as texts") from None


def _of_zone(value: Any, wanted: Any) -> Any:
    """A moment that can be compared with another: one of the two may have no time zone."""
    if not isinstance(value, datetime) or (value.tzinfo is None) == (wanted.tzinfo is None):
        return wanted
    return wanted.replace(tzinfo=value.tzinfo) if value.tzinfo else wanted.astimezone(UTC).replace(tzinfo=None)


def _of_field(field: str, condition: Any) -> list[Condition]:
    if isinstance(condition, Mapping):
        strange = [str(one) for one in condition if one not in _COMPARING]
        if strange or not condition:
            got = ", ".join(strange)[:_LONGEST_SHOWN] or "none"
            raise FilterError(f"filter: field '{field}': expected comparisons {', '.join(_COMPARING)}; got {got}")
        return [Condition(field, operator, (_scalar(field, value),)) for operator, value in condition.items()]
    if isinstance(condition, list | tuple):
        return [Condition(field, "in", tuple(_scalar(field, value) for value in condition))]
    return [Condition(field, "in", (_scalar(field, condition),))]


def _scalar(field: str, value: Any) -> Scalar:
    if not isinstance(value, Scalar) or (isinstance(value, float) and not math.isfinite(value)):
        raise FilterError(
            f"filter: field '{field}': expected a text, a number, true or false, or a list of them; got {_kind(value)}"
        )
    return value


def _kind(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number" if math.isfinite(value) else "a number that is not finite"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list | tuple) else "an object"
