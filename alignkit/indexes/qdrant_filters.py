"""Conditions on the payload of Qdrant's points, as its own filters."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from types import ModuleType
from typing import Any

from alignkit.indexes.filters import Condition, FilterError, Scalar, is_number, mismatch
from alignkit.indexes.qdrant_fields import json_path
from alignkit.indexes.qdrant_ids import point_id

ID = "id"


def qdrant_filter(conditions: Sequence[Condition], models: ModuleType, keys: Collection[str] = ()) -> Any:
    """All the conditions as one filter.

    Args:
        conditions: on fields of the payload, or on `id`.
        models: of the client library.
        keys: of the payload as they are, dots included.

    Raises:
        FilterError: if Qdrant cannot compare so.
    """
    must, must_not = [], []
    for asked in conditions:
        condition = asked if asked.field == ID else replace(asked, field=json_path(asked.field, keys))
        if condition.operator == "ne":
            must_not.append(_any_of(condition, models))
            if condition.field != ID:
                must_not.append(models.IsEmptyCondition(is_empty=models.PayloadField(key=condition.field)))
        elif condition.operator == "in":
            must.append(_any_of(condition, models))
        else:
            must.append(_in_range(condition, models))
    return models.Filter(must=must or None, must_not=must_not or None)


def _any_of(condition: Condition, models: ModuleType) -> Any:
    if condition.field == ID:
        wanted = [point_id(value) for value in condition.values]
        return models.HasIdCondition(has_id=wanted) if wanted else _never(models)
    return models.Filter(
        should=[_equal(condition.field, value, models) for value in condition.values] or [_never(models)]
    )


def _equal(field: str, value: Scalar, models: ModuleType) -> Any:
    if isinstance(value, float):
        return models.FieldCondition(key=field, range=models.Range(gte=value, lte=value))
    return models.FieldCondition(key=field, match=models.MatchValue(value=value))


def _never(models: ModuleType) -> Any:
    # the client's own search takes an empty list for no condition
    one = models.HasIdCondition(has_id=[0])
    return models.Filter(must=[one], must_not=[one])


def _in_range(condition: Condition, models: ModuleType) -> Any:
    if condition.field == ID:
        raise FilterError("filter: Qdrant cannot compare ids by size; give those that are wanted, as a list")
    if is_number(condition.value):
        bounds = models.Range(**{condition.operator: condition.value})
        return models.FieldCondition(key=condition.field, range=bounds)
    try:
        moment = datetime.fromisoformat(condition.value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise mismatch(condition, "numbers and dates in comparisons by size, as Qdrant knows no others") from None
    return models.FieldCondition(key=condition.field, range=models.DatetimeRange(**{condition.operator: moment}))
