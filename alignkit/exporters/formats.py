"""The formats there are, by name: told from their files, for importing one loads torch."""

from __future__ import annotations

import re
from pathlib import Path

_WRITES = re.compile(r"^def write\(", re.MULTILINE)


def formats() -> list[str]:
    """Names of the modules of this room that can write."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [path.stem for path in files if _WRITES.search(path.read_text(encoding="utf-8"))]
