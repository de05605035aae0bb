"""Locks among processes; the system releases them when their holder dies."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

FOLDER = "locks"


def lock(folder: Path, name: str) -> FileLock:
    """A lock of the cache in `folder`."""
    return FileLock(folder / FOLDER / f"{name}.lock", thread_local=False)


@contextmanager
def upkeep_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of who changes the shards of the cache in `folder`."""
    held = lock(folder, "upkeep")
    try:
        held.acquire(timeout=0)
    except Timeout:
        log.warning("another process is looking after the cache in %s; waiting for it", folder)
        held.acquire()
    try:
        yield
    finally:
        held.release()
