"""Where the packaged demo lies, and how its table is known again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACK = Path(__file__).parent / "demo"
# a table made from the demo's teacher, which needs no path as a student
TABLE = PACK / "table"


def about_pack() -> dict[str, Any]:
    """What `pack.json` says: the identities of its embedders, licence and source."""
    found: dict[str, Any] = json.loads((PACK / "pack.json").read_text(encoding="utf-8"))
    return found


def is_packed_table(identity: Mapping[str, Any] | None) -> bool:
    """Whether a student is the pack's table, wherever it was used."""
    if identity is None or identity.get("backend") != "table":
        return False
    return identity.get("digest") == about_pack()["identities"][TABLE.name]["digest"]
