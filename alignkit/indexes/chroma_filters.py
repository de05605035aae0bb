"""Conditions on the rows of a collection of Chroma: what it tells apart itself, and what is left to us."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from alignkit.indexes.filters import Condition, FilterError, Scalar, is_number, mismatch, passes

ID, DOCUMENT = "id", "document"


@dataclass(frozen=True)
class ChromaFilter:
    """A filter in three parts.

    Attributes:
        where: Chroma's own form; `None` for no condition.
        ids: of the only rows that can pass; `None` for all.
        after: conditions that are looked at once the hits are known.
        nothing: whether no row can pass.
    """

    where: dict[str, Any] | None
    ids: list[str] | None
    after: tuple[Condition, ...]
    nothing: bool

    def passes(self, one: str, metadata: dict[str, Any] | None) -> bool:
        """Whether a hit passes what Chroma could not look at."""
        return not self.after or passes({**(metadata or {}), ID: one}, self.after)


def chroma_filter(conditions: tuple[Condition, ...], lists: Collection[str]) -> ChromaFilter:
    """The conditions as Chroma takes them.

    Args:
        conditions: all of which must hold.
        lists: fields that hold lists, one of whose values must fit.

    Raises:
        FilterError: if a field cannot be compared like that.
    """
    where, ids, after, nothing = [], None, [], False
    for one in conditions:
        nothing = nothing or not one.values
        if one.field == DOCUMENT:
            raise FilterError("filter: Chroma compares no documents; use a field of the metadata")
        if one.field == ID and one.operator == "in":
            found = list(dict.fromkeys(value for value in one.values if isinstance(value, str) and value))
            ids = found if ids is None else [value for value in ids if value in found]
        elif one.field == ID:
            after.append(one)
        elif one.operator == "in":
            where.append(_any([_equal(one.field, value, lists) for value in one.values]))
            after += [one] if any(_is_between(value) for value in one.values) else []
        elif one.operator == "ne":
            # rows without the field pass that in Chroma
            where.append({one.field: {"$ne": one.value}})
            after.append(one)
        elif not isinstance(one.value, str) and is_number(one.value):
            where.append({one.field: _bound(one.operator, one.value)})
            after += [one] if _is_between(one.value) else []
        else:
            raise mismatch(one, "numbers alone for gt, gte, lt and lte in Chroma")
    nothing = nothing or ids == []
    return ChromaFilter({"$and": where} if len(where) > 1 else where[0] if where else None, ids, tuple(after), nothing)


def _equal(field: str, value: Scalar, lists: Collection[str]) -> dict[str, Any]:
    value = value if isinstance(value, str) else _whole(value)
    same = {field: {"$eq": value}}
    return {"$or": [same, {field: {"$contains": value}}]} if field in lists else same


def _is_between(value: Scalar) -> bool:
    """Whether it lies between two whole numbers: Chroma cuts it off where it compares it with whole numbers."""
    return isinstance(value, float) and not value.is_integer()


def _bound(operator: str, value: float) -> dict[str, Any]:
    """A comparison that lets through all that must pass, and where the value is no whole number a few more."""
    if not _is_between(value):
        return {f"${operator}": _whole(value)}
    return {"$gte": math.floor(value)} if operator in ("gt", "gte") else {"$lte": math.ceil(value)}


def _whole(value: float) -> float:
    """The same as a whole number, where it is one that Chroma can hold; a list of Chroma's has one type."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _any(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"$or": found} if len(found) > 1 else next(iter(found), {})
