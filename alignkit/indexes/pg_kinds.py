"""Which type of PostgreSQL a field of a payload gets, and what becomes of it when other values come."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

JSON = "jsonb"
_LARGEST = 2**63
# types whose texts are read back as the same values
_KEYS = {int: "bigint", uuid.UUID: "uuid", Decimal: "numeric", date: "date"}
_NUMBERS = {"bigint", "double precision"}


def kind_of(values: Iterable[Any]) -> str | None:
    """The narrowest type that holds all values but `None`; `None` where there is no other.

    >>> kind_of([1, None, 2.5]), kind_of(["a"]), kind_of(["a", 1]), kind_of([None])
    ('double precision', 'text', 'jsonb', None)
    """
    kind = None
    for value in values:
        kind = wider(kind, _kind(value))
    return kind


def wider(kind: str | None, other: str | None) -> str | None:
    """A type for the values of both.

    >>> wider("bigint", "double precision"), wider("date", "text"), wider(None, "text")
    ('double precision', 'jsonb', 'text')
    """
    if kind is None or other is None or kind == other:
        return kind or other
    return "double precision" if {kind, other} == _NUMBERS else JSON


def key_kind(ids: Iterable[Any]) -> str:
    """The type of a column of ids: their own, or text, which takes all.

    >>> key_kind([1, 2]), key_kind(["a"]), key_kind([1, "a"]), key_kind([2**70])
    ('bigint', 'text', 'text', 'text')
    """
    kinds = {_KEYS.get(type(one), "text") if not _is_large(one) else "text" for one in ids}
    return kinds.pop() if len(kinds) == 1 else "text"


def _kind(value: Any) -> str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None:
        return None
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "numeric" if _is_large(value) else "bigint"
    if isinstance(value, float):
        return "double precision"
    if isinstance(value, datetime):
        return "timestamp" if value.tzinfo is None else "timestamptz"
    for known, kind in ((str, "text"), (bytes, "text"), (date, "date"), (Decimal, "numeric"), (uuid.UUID, "uuid")):
        if isinstance(value, known):
            return kind
    return JSON


def _is_large(value: Any) -> bool:
    return isinstance(value, int) and not -_LARGEST <= value < _LARGEST
