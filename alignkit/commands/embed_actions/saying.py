"""Results go to stdout."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """One line of the result."""
    sys.stdout.write(f"{line}\n")
