"""A server's own words, treated as data: one line, bounded, without terminal control characters."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

LONGEST = 300
# keys under which Ollama, OpenAI, FastAPI, text-embeddings-inference and ASP.NET put messages, the likeliest first
_KEYS = ("error", "message", "detail", "msg", "title", "error_message")


def one_line(text: object, longest: int = LONGEST) -> str:
    r"""Untrusted text made safe for a message: on one line, without control characters, truncated.

    >>> one_line("model\n\x1b[31mnot\u202e  found\x00")
    'model [31mnot found'
    """
    # four times the length is enough for `longest` visible characters, and bounds the work
    shown = "".join(" " if unicodedata.category(mark)[0] in "CZ" else mark for mark in str(text)[: 4 * longest])
    line = " ".join(shown.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def quoted(value: object, longest: int = 60) -> str:
    r"""An untrusted text or value in quotes, as Python's repr writes it, truncated.

    >>> quoted("\x00 a"), quoted("word " * 4, longest=14)
    ("'\\x00 a'", "'word word ...")
    """
    shown = repr(value)
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def words_of(body: bytes) -> str:
    """A server's message in the body of an answer; "" if there is none.

    >>> words_of(b'{"error": {"message": "too large", "code": 500}}')
    'too large'
    >>> words_of(b"404 page not found")
    '404 page not found'
    """
    try:
        return words_in(json.loads(body))
    except (ValueError, RecursionError):
        return one_line(body[: 8 * LONGEST].decode("utf-8", errors="replace"))


def words_in(found: Any) -> str:
    """The same for an answer that is already parsed.

    >>> words_in({"detail": [{"loc": ["body", "input"], "msg": "field required"}]})
    'field required'
    """
    while isinstance(found, dict | list):
        if isinstance(found, list):
            found = found[0] if found else ""
        else:
            found = next((found[key] for key in _KEYS if found.get(key)), "")
    return one_line(found)
