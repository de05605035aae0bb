"""The result of one check, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """A line of the report.

    Attributes:
        topic: what was checked, such as "student server".
        status: a failure prevents the work, a warning deserves attention.
        message: what was found.
        fix: what to do; empty if there is nothing to do, or the message says it.
    """

    topic: str
    status: Status
    message: str
    fix: str = ""


def ok(topic: str, message: str) -> Finding:
    """A finding without a problem."""
    return Finding(topic, "ok", message)


def warning(topic: str, message: str, fix: str) -> Finding:
    """A finding that deserves attention."""
    return Finding(topic, "warning", message, fix)


def failure(topic: str, message: object, fix: str = "") -> Finding:
    """A finding that must be fixed before anything works."""
    return Finding(topic, "failure", " ".join(str(message).split()), fix)
