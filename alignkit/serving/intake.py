"""From bytes to checked texts: limits, JSON, types. Whatever is wrong is a `RequestFault`."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from starlette.requests import Request

from alignkit.embedders.embeddable import BLANK, admit
from alignkit.serving.limits import Limits
from alignkit.serving.request_faults import OverloadedFault, RequestFault

# the rest of such a body is not read, so the connection cannot be used again
_CLOSE = {"connection": "close"}
# how many bodies of the largest size may be in memory at one time
MOST_LARGE_BODIES = 64


class Bodies:
    """Counts the bytes of all bodies in memory, because many clients within their own limits can be too much together.

    Args:
        most_bytes: of all bodies together; beyond it requests are turned away.
    """

    _KEY = "alignkit.body_bytes"

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.bytes = 0

    def add(self, request: Request, count: int) -> None:
        """Count more bytes of a request's body.

        Raises:
            OverloadedFault: if that is too many.
        """
        if self.bytes + count > self._most_bytes:
            raise OverloadedFault("the server holds as many texts as it can", 1, headers=_CLOSE)
        self.bytes += count
        request.scope[self._KEY] = request.scope.get(self._KEY, 0) + count

    def release(self, request: Request) -> None:
        """Release the bytes of an answered request; harmless twice."""
        self.bytes -= request.scope.pop(self._KEY, 0)


async def read_object(request: Request, limits: Limits, bodies: Bodies) -> dict[str, Any]:
    """The body as a JSON object.

    Raises:
        RequestFault: if it is too large, too slow, compressed, or not a JSON object.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestFault(415, "compressed bodies are refused; send the JSON as it is", code="unsupported_encoding")
    body = await _read_body(request, limits, bodies)
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # the position only: the error's own text could quote the body
        raise RequestFault(
            400, f"the body is not valid JSON (line {error.lineno}, column {error.colno})", code="invalid_json"
        ) from None
    if not isinstance(parsed, dict):
        raise RequestFault(400, f"the body must be a JSON object, got {json_type(parsed)}", code="invalid_json")
    return parsed


async def _read_body(request: Request, limits: Limits, bodies: Bodies) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdecimal() and len(declared) < 20 and int(declared) > limits.max_body_bytes:
        raise _too_large(limits)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            more = True
            while more:
                message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise RequestFault(400, "the client went away", code="client_gone")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > limits.max_body_bytes:
                    raise _too_large(limits)
                bodies.add(request, len(chunks[-1]))
                more = message.get("more_body", False)
    except TimeoutError:
        raise RequestFault(
            408, f"the body did not arrive within {limits.body_timeout_s:g} s", code="timeout", headers=_CLOSE
        ) from None
    return b"".join(chunks)


def _too_large(limits: Limits) -> RequestFault:
    return RequestFault(
        413,
        f"the body is larger than {limits.max_body_bytes} bytes; send fewer texts per request",
        code="body_too_large",
        headers=_CLOSE,
    )


def texts_of(value: Any, param: str, limits: Limits) -> list[str]:
    """A text or a list of texts; what they say is left to `full_texts`.

    Args:
        value: the field's value.
        param: the field's name.
        limits: of one request.

    Raises:
        RequestFault: naming the field and the position of what is no text; 422 for too many, or too long ones.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise RequestFault(400, f"{param} must be a text or a list of texts, got {json_type(value)}", param=param)
    if len(texts) > limits.max_texts:
        raise RequestFault(
            422,
            f"{param} has {len(texts)} texts; at most {limits.max_texts} are allowed per request",
            param=param,
            code="too_many_texts",
        )
    if set(map(type, texts)) - {str}:
        position, text = next((position, text) for position, text in enumerate(texts) if not isinstance(text, str))
        raise _not_a_text(text, f"{param}[{position}]", param)
    characters = sum(map(len, texts))
    if characters > limits.max_characters:
        raise RequestFault(
            422,
            f"{param} has {characters} characters; at most {limits.max_characters} are allowed per request",
            param=param,
            code="too_long",
        )
    return texts


def full_texts(texts: list[str], param: str, blank: bool = False) -> list[int]:
    """Positions of the texts that a model can embed: of all, or of all but the blank ones.

    Args:
        texts: of one field.
        param: the field's name.
        blank: let blank texts through.

    Raises:
        RequestFault: naming the field and the position of the first other text.
    """
    full, faults = admit(texts)
    for position, fault in faults.items():
        if not (blank and fault == BLANK):
            raise RequestFault(400, f"{param}[{position}]: {fault}", param=param, code="invalid_text")
    return full


def _not_a_text(value: Any, place: str, param: str) -> RequestFault:
    tokens = value if isinstance(value, list) else [value]
    if tokens and all(isinstance(token, int) and not isinstance(token, bool) for token in tokens):
        return RequestFault(
            400,
            f"{place} holds token ids; expected texts",
            param=param,
            code="tokens_not_supported",
        )
    return RequestFault(400, f"{place} must be a text, got {json_type(value)}", param=param)


def dimensions_of(value: Any, dim: int) -> int | None:
    """The requested width, checked; None for the full width.

    Raises:
        RequestFault: if it is not a whole number from 1 to `dim`.
    """
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= dim:
        got = value if isinstance(value, int) and abs(value) < 10**9 else json_type(value)
        raise RequestFault(400, f"dimensions must be a whole number from 1 to {dim}, got {got}", param="dimensions")
    return value


def model_name_of(value: Any) -> str:
    """The requested model's name.

    Raises:
        RequestFault: if it is not a text.
    """
    if not isinstance(value, str):
        raise RequestFault(400, f"model must be a name, got {json_type(value)}", param="model")
    return value


def json_type(value: Any) -> str:
    """What JSON calls a value.

    >>> [json_type(value) for value in (None, True, 1.5, "a", [], {})]
    ['null', 'a boolean', 'a number', 'a text', 'a list', 'an object']
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a text" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"
