"""Copies on this machine of files in object storage, for what reads a file again and again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from alignkit.errors import DataError
from alignkit.files import appearing, refused
from alignkit.object_storage.located import asked, located, state_of

if TYPE_CHECKING:
    from upath import UPath

    from alignkit.object_storage.located import Place

logger = logging.getLogger(__name__)

_GB = 1e9


def on_disk(path: str | Place) -> Path:
    """The file itself if it lies on a disk, else a copy of it, fetched once for each content that it has.

    Copies stay, so that the next command finds them; an older copy of the same address makes room for the new one.

    Raises:
        DataError: if the store refuses, or the copy does not fit on the disk.
    """
    place = located(path)
    if isinstance(place, Path):
        return place
    state = state_of(place)
    folder = copies_folder() / hashlib.sha256(str(place).encode()).hexdigest()[:16]
    version = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]
    copy = folder / version / place.name
    if copy.is_file() and copy.stat().st_size == state["size_bytes"]:
        return copy
    _fetch(place, copy, state["size_bytes"])
    for other in folder.iterdir():
        if other.name != version:
            shutil.rmtree(other, ignore_errors=True)  # one that is mapped stays on Windows, until the next time
    return copy


def copies_folder() -> Path:
    """Where copies lie: in the user's folder for what can be fetched again."""
    usual = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return Path(usual or Path.home() / ".cache") / "alignkit" / "copies"


def _fetch(place: UPath, copy: Path, size: int) -> None:
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(copy.parent).free) < size:
            raise DataError(
                f"{place}: its copy takes {size / _GB:.1f} GB, {free / _GB:.1f} GB are free in {copies_folder()}"
            )
        logger.info("%s: %.2f GB are copied to %s, where later commands find them", place, size / _GB, copy)
        with appearing(copy) as unfinished:
            with asked(place):
                place.fs.get_file(place.path, str(unfinished))
            if (got := unfinished.stat().st_size) != size:
                raise DataError(f"{place}: {got:,} of {size:,} bytes arrived; give the same command again")
    except OSError as error:
        raise refused(copy, error) from None
