"""Locks among processes; the system releases them when their holder dies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import AcquireReturnProxy, FileLock, Timeout

from alignkit.errors import CacheError

log = logging.getLogger(__name__)

FOLDER = "locks"


class CacheLock(FileLock):
    """A lock whose file this user may be unable to open, since a cache may come from somebody else."""

    def acquire(self, *given: Any, **named: Any) -> AcquireReturnProxy:
        """As `FileLock` does.

        Raises:
            CacheError: if the file cannot be locked at all.
        """
        try:
            return super().acquire(*given, **named)
        except Timeout:
            raise
        except OSError as error:
            raise CacheError(
                f"{self.lock_file}: cannot be locked ({error.strerror or error}); if no other process uses the cache, "
                "remove this file; otherwise choose another cache_dir"
            ) from None


def lock(folder: Path, name: str) -> CacheLock:
    """A lock of the cache in `folder`."""
    return CacheLock(folder / FOLDER / f"{name}.lock", thread_local=False)


@contextmanager
def upkeep_lock(folder: Path) -> Iterator[None]:
    """Hold the lock for changing the shards of the cache in `folder`."""
    held = lock(folder, "upkeep")
    try:
        held.acquire(timeout=0)
    except Timeout:
        log.warning("another process is maintaining the cache in %s; waiting for it to finish", folder)
        held.acquire()
    try:
        yield
    finally:
        held.release()
