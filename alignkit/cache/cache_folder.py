"""The folder of a cache: found or made, and whether it can be written."""

from __future__ import annotations

import tempfile
from pathlib import Path

from alignkit.cache import locks
from alignkit.errors import CacheError

SHARDS = "shards"


def prepare(folder: Path, create: bool, only_read: bool) -> str | None:
    """Make the folder of a cache ready for use.

    Args:
        folder: of the cache.
        create: whether one may be made where there is none.
        only_read: leave everything on the disk as it is.

    Returns:
        None where it can be written, else why not.

    Raises:
        CacheError: if there is no cache and none can be made.
    """
    if not (_is_cache(folder) or create):
        raise CacheError(f"there is no cache in {folder}; fill one with python -m alignkit.embed")
    if only_read:
        return "it was opened to be read only"
    try:
        (folder / SHARDS).mkdir(parents=True, exist_ok=True)
        (folder / locks.FOLDER).mkdir(exist_ok=True)
        with tempfile.TemporaryFile(dir=folder / SHARDS):
            return None
    except OSError as error:
        if not _is_cache(folder):
            raise CacheError(f"cannot make a cache in {folder}: {error.strerror or error}") from None
        return error.strerror or str(error)


def _is_cache(folder: Path) -> bool:
    try:
        return (folder / SHARDS).is_dir()
    except OSError as error:  # a folder above it is closed to this user
        raise CacheError(f"cannot read {folder}: {error.strerror or error}; choose another cache_dir") from None
