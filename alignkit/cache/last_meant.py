"""Which stored model an embedder's settings meant last: a name can change its model, and change back.

The newest vectors do not tell: a model whose texts all had vectors already stores none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignkit.cache.keys import identity_digest
from alignkit.files import refused, write_whole

FOLDER = "last_meant"


def read_meaning(folder: Path, settings: Mapping[str, Any]) -> dict[str, Any] | None:
    """The identity that was noted in the cache at `folder`; None where none was, or where the note is damaged."""
    try:
        noted = json.loads(_path(folder, settings).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return noted if isinstance(noted, dict) else None


def note_meaning(folder: Path, settings: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Note which identity settings mean now.

    Raises:
        AlignkitError: if the disk refuses.
    """
    path = _path(folder, settings)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise refused(path.parent, error) from None
    write_whole(path, json.dumps(identity, indent=1))


def _path(folder: Path, settings: Mapping[str, Any]) -> Path:
    return folder / FOLDER / f"{identity_digest(settings).hex()}.json"
