"""The JSON object in a model's answer, as far as it goes: an answer may be truncated in the middle of a word."""

from __future__ import annotations

import json
import re
from typing import Any

_CLOSERS = {"{": "}", "[": "]"}
# a whole string or a bracket; a truncated string does not match
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|"', re.DOTALL)


def object_in(text: str) -> dict[str, Any]:
    """The first object of a text; if it is truncated, its complete part.

    Raises:
        ValueError: if no object begins in the text.

    >>> object_in('{"a": ["one", "two", "thr')
    {'a': ['one', 'two']}
    >>> object_in('Sure! {"a": 1} I hope that helps')
    {'a': 1}
    """
    start = text.find("{")
    if start < 0:
        raise ValueError("no JSON object in the answer")
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
        return found
    except (ValueError, RecursionError):
        pass
    for end, closers in reversed(_ends(text, start)):
        try:
            return json.loads(text[start:end] + closers)
        except (ValueError, RecursionError):  # after a key, for instance
            continue
    return {}


def _ends(text: str, start: int) -> list[tuple[int, str]]:
    """Where a value may end, and what would close every open bracket there."""
    found: list[tuple[int, str]] = []
    still_open: list[str] = []
    for token in _TOKENS.finditer(text, start):
        mark = token[0]
        if mark == '"':
            break
        if mark in _CLOSERS:
            still_open.append(_CLOSERS[mark])
        elif mark in "}]":
            if not still_open:
                break
            still_open.pop()
        found.append((token.end(), "".join(reversed(still_open))))
    return found
