"""Payload values of any engine, as those that hold JSON take them."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import date, time
from decimal import Decimal
from typing import Any

import numpy as np


def plain_value(value: Any) -> Any:
    """The value as JSON has it: times in ISO 8601, bytes in base64, whatever JSON does not know as its text.

    NaN and infinity, which JSON does not have, become `None`.

    >>> plain_value({"when": date(2024, 5, 1), "size": np.float32(0.5), "tags": ("a", None)})
    {'when': '2024-05-01', 'size': 0.5, 'tags': ['a', None]}
    >>> plain_value([Decimal("3"), Decimal("0.25"), b"ab", float("nan")])
    [3, 0.25, 'YWI=', None]
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() else float(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(key): plain_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain_value(one) for one in value]
    return str(value)
