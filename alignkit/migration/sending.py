"""A new index that shall lie in object storage: made on this disk, where a move can go on, then sent whole."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignkit.errors import DataError
from alignkit.object_storage.copies_here import copies_folder
from alignkit.object_storage.located import is_there, read_range, write_object

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

MANIFEST_BYTES = 1024 * 1024


def made_at(out: Place) -> Path:
    """Where a new index is made: under its own name, or on this disk until it is sent."""
    if isinstance(out, Path):
        return out
    folder = copies_folder().with_name("unsent") / hashlib.sha256(str(out).encode()).hexdigest()[:16]
    return folder / out.name


def sent_before(out: Place) -> dict[str, Any] | None:
    """The manifest beside a file that was sent; empty where it has none, `None` where there is no file.

    Raises:
        DataError: if the store refuses.
    """
    if isinstance(out, Path) or not is_there(out):
        return None
    try:
        found = json.loads(read_range(out.with_name(f"{out.name}.json"), 0, MANIFEST_BYTES))
    except (ValueError, DataError):
        return {}
    return found if isinstance(found, dict) else {}


def send(made: Path, out: Place) -> None:
    """Send what was made, the file itself last, and forget it here.

    Raises:
        DataError: if the store refuses; what was made stays, and the same command sends it.
    """
    if isinstance(out, Path):
        return
    there = [path for path in made.parent.iterdir() if path.suffix in (".npy", ".parquet", ".json")]
    for path in sorted(there, key=lambda path: path == made):
        write_object(out.with_name(path.name), path)
    shutil.rmtree(made.parent, ignore_errors=True)
