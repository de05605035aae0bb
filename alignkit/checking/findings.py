"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warning", "failure"]


@dataclass(frozen=True)
class Finding:
    """A line of the report.

    Attributes:
        topic: what was looked at, such as "student server".
        status: a failure stops the work, a warning is worth a thought.
        message: what was found.
        fix: what to do; empty where there is nothing to do, or where the message says it.
    """

    topic: str
    status: Status
    message: str
    fix: str = ""


def ok(topic: str, message: str) -> Finding:
    """All is well."""
    return Finding(topic, "ok", message)


def warning(topic: str, message: str, fix: str) -> Finding:
    """Worth a thought."""
    return Finding(topic, "warning", message, fix)


def failure(topic: str, message: object, fix: str = "") -> Finding:
    """Nothing works until it is mended."""
    return Finding(topic, "failure", " ".join(str(message).split()), fix)
