"""What an answer without vectors means: by its status, and by its text where that says more."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from alignkit.embedders.remote.server_faults import (
    GIVE_LESS,
    GIVE_TIME,
    LOOK_AT_LOG,
    SUSPECT_ATTEMPTS,
    StatusError,
    TextFault,
    TooLargeFault,
    TransientFault,
)
from alignkit.servers.untrusted_words import one_line, words_in

# what the user can do if these persist
TRANSIENT_STATUSES = {
    408: GIVE_TIME,
    425: LOOK_AT_LOG,
    429: GIVE_LESS,
    502: "is the server behind this address running? See its log",
    503: GIVE_LESS,
    504: GIVE_TIME,
}
# a server error may come from one text (NaN, an input past its micro-batch) or be transient
SUSPECT_STATUSES = frozenset({424, 500})
TEXT_FAULTS = ("nan", "inf value", "too large", "too long", "context length", "context size", "input length")
# Ollama's words if the process that runs the model died during the request; Ollama restarts it by itself
RUNNER_DEATHS = re.compile(r"do embedding request|runner (process )?(has|no longer|terminated)|\bEOF\b", re.IGNORECASE)
# OpenAI also sends 429 when waiting does not help
SPENT = ("quota", "billing", "credit")
BUSY = ("busy", "overloaded", "try again", "rate limit", "timed out", "timeout", "loading")
NO_SUCH_PLACE = ("unexpected endpoint", "unknown endpoint", "no such endpoint", "cannot post", "cannot get")
ERROR_IN_200 = "HTTP 200 with an error"
# what some servers put into `code` in place of a numeric status
_CODES = {"not_found": 404, "rate_limit": 429, "overloaded": 503, "api_key": 401, "unauthorized": 401, "quota": 402}


def fault_of_status(
    status: int,
    words: str,
    headers: Mapping[str, str],
    fixes: Mapping[int, str],
    address_fix: str = "",
    called: Callable[[str], str] = str,
    label: str = "",
) -> Exception:
    """What an answer other than 200 means.

    Args:
        status: HTTP status.
        words: the server's own, from `words_of`.
        headers: of the answer, with lower-case names.
        fixes: status → what the user can do, for this kind of server.
        address_fix: what the user can do if the address is wrong.
        called: what the user calls a setting.
        label: replaces "HTTP" and the status.

    Returns:
        The fault to raise; a `StatusError` if it cannot be handled here.
    """
    label = label or f"HTTP {status}"
    reason, lower = f"{label}: {words}" if words else label, words.lower()
    if RUNNER_DEATHS.search(words) and status in (400, *SUSPECT_STATUSES):
        return TransientFault("the model's runner died", reason, attempts=SUSPECT_ATTEMPTS)
    if status == 429 and any(word in lower for word in SPENT):
        return StatusError(status, reason)
    if status in TRANSIENT_STATUSES:
        loading, wait_s = status == 503 and "loading" in lower, seconds_of(headers.get("retry-after"))
        mend = "it is still loading its model; try again in a minute" if loading else TRANSIENT_STATUSES[status]
        return TransientFault(label, words, wait_s, mend=mend, loading=loading)
    if status in SUSPECT_STATUSES:
        if any(fault in lower for fault in TEXT_FAULTS):
            return TextFault(reason, brief=label)
        return TransientFault(label, words, attempts=SUSPECT_ATTEMPTS)
    if status == 413 or (status == 422 and "batch size" in lower):
        return TooLargeFault(reason, most_texts=_last_number(words) if status == 422 else None)
    if status == 400 and "https" in lower and "http request" in lower:
        return StatusError(status, f"{reason}; set {called('base_url')} to https://…, which it speaks")
    if status in (400, 422):
        return TextFault(reason, brief=label)
    # a server that lacks a model says so; if it mentions none, another program has this address
    fix = address_fix if status in (404, 405) and "model" not in lower else fixes.get(status)
    return StatusError(status, "; ".join(filter(None, [reason, fix])))


def fault_in_answer(
    answer: dict[str, Any], fixes: Mapping[int, str], address_fix: str, called: Callable[[str], str] = str
) -> Exception:
    """What an `error` in an answer of status 200, as some servers send it, means."""
    error = answer.get("error")
    words = words_in(error) or one_line(error, 100)
    status = _status_in(error if isinstance(error, dict) else answer)
    lower = words.lower()
    if status is None and any(place in lower for place in NO_SUCH_PLACE):
        status = 404
    if status is not None:
        return fault_of_status(status, words, {}, fixes, address_fix, called, ERROR_IN_200)
    if any(word in lower for word in BUSY):
        return TransientFault("an error as answer", words, mend=GIVE_LESS)
    return TextFault(f"{ERROR_IN_200}: {words}", brief=ERROR_IN_200)


def _status_in(error: Mapping[str, Any]) -> int | None:
    for found in (error.get(key) for key in ("code", "status", "status_code", "type")):
        if isinstance(found, int | str) and str(found).isdecimal() and 400 <= int(found) <= 599:
            return int(found)
        if isinstance(found, str):
            for code, status in _CODES.items():
                if code in found.lower():
                    return status
    return None


def _last_number(message: str) -> int | None:
    """The limit in TEI's message `batch size 64 > maximum allowed batch size 32`.

    >>> _last_number("batch size 64 > maximum allowed batch size 32")
    32
    """
    numbers = [int(word) for word in message.replace(".", " ").split() if word.isdecimal()]
    return numbers[-1] if len(numbers) > 1 and numbers[-1] > 0 else None


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
