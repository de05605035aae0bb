"""What can go wrong with one request, sorted by what to do about it."""

from __future__ import annotations

import email.utils
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from alignkit.errors import EmbedderError

TRANSIENT_STATUSES = frozenset({408, 425, 429, 502, 503, 504})
# a server's own error may come from one text (NaN, an input past its micro-batch) or pass by itself
SUSPECT_STATUSES = frozenset({424, 500})
SUSPECT_ATTEMPTS = 3
TEXT_FAULTS = ("nan", "inf value", "too large", "too long", "context length", "context size", "input length")
LONGEST_MESSAGE = 300


class TransientFault(Exception):
    """May pass by itself: send again after a while.

    Args:
        brief: what happened, in our words alone: it is logged.
        words: the server's own, which may repeat the texts that it was sent.
        wait_s: how long the server asks to wait.
        attempts: most for this fault.
    """

    def __init__(self, brief: str, words: str = "", wait_s: float | None = None, attempts: int | None = None) -> None:
        super().__init__(f"{brief}: {words}" if words else brief)
        self.brief = brief
        self.wait_s = wait_s
        self.attempts = attempts


class TextFault(Exception):
    """The server refuses the batch because of a text in it: look for that text."""


class TooLargeFault(Exception):
    """The batch is too large for the server; `most_texts` where it says how many it takes."""

    def __init__(self, reason: str, most_texts: int | None = None) -> None:
        super().__init__(reason)
        self.most_texts = most_texts


class StatusError(EmbedderError):
    """The server answered, and no retry will change the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.brief = f"HTTP {status}"


class GivenUpError(EmbedderError):
    """No attempt brought an answer; `brief` says why without the server's words."""

    def __init__(self, message: str, brief: str) -> None:
        super().__init__(message)
        self.brief = brief


def fault_of_status(status: int, message: str, headers: Mapping[str, str], fixes: Mapping[int, str]) -> Exception:
    """What an answer other than 200 means.

    Args:
        status: HTTP status.
        message: the server's words, from `message_of`.
        headers: of the answer, lower-case names.
        fixes: status → what the user can do, for this kind of server.

    Returns:
        The fault to raise; a `StatusError` where nothing can be done here.
    """
    reason = f"HTTP {status}: {message}" if message else f"HTTP {status}"
    if status in TRANSIENT_STATUSES:
        return TransientFault(f"HTTP {status}", message, wait_s=seconds_of(headers.get("retry-after")))
    if status in SUSPECT_STATUSES:
        if any(words in message.lower() for words in TEXT_FAULTS):
            return TextFault(reason)
        return TransientFault(f"HTTP {status}", message, attempts=SUSPECT_ATTEMPTS)
    if status == 413 or (status == 422 and "batch size" in message.lower()):
        return TooLargeFault(reason, most_texts=_last_number(message) if status == 422 else None)
    if status in (400, 422):
        return TextFault(reason)
    return StatusError(status, "; ".join(filter(None, [reason, fixes.get(status)])))


def _last_number(message: str) -> int | None:
    """TEI: `batch size 64 > maximum allowed batch size 32`.

    >>> _last_number("batch size 64 > maximum allowed batch size 32")
    32
    """
    numbers = [int(word) for word in message.replace(".", " ").split() if word.isdecimal()]
    return numbers[-1] if len(numbers) > 1 and numbers[-1] > 0 else None


def message_of(body: bytes) -> str:
    """A server's own words: from Ollama, OpenAI, FastAPI and text-embeddings-inference, else the body's first line.

    >>> message_of(b'{"error": {"message": "too large", "code": 500}}')
    'too large'
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = body.decode("utf-8", errors="replace")
    while isinstance(found, dict):
        found = next((found[key] for key in ("error", "message", "detail") if key in found), "")
    return " ".join(str(found).split())[:LONGEST_MESSAGE]


def seconds_of(retry_after: str | None) -> float | None:
    """`Retry-After` in seconds: a number or a date.

    >>> seconds_of("2.5"), seconds_of(None), seconds_of("soon")
    (2.5, None, None)
    """
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


@dataclass(frozen=True)
class Backoff:
    """Exponential waits with jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", 2015).

    Attributes:
        attempts: requests for one batch, the first included.
        first_s: the longest first wait.
        longest_s: no wait is longer, whatever the server asks for.
    """

    attempts: int = 6
    first_s: float = 0.5
    longest_s: float = 60.0

    def wait_s(self, failed: int, asked_s: float | None) -> float:
        """How long to wait after the `failed`-th failure in a row (from 1); `asked_s` is what the server asked for."""
        jitter = random.uniform(0.5, 1.0)  # not for results: it only spreads requests in time
        own_s = self.first_s * 2 ** (failed - 1) * jitter
        return min(self.longest_s, own_s if asked_s is None else asked_s + self.first_s * jitter * 0.1)
