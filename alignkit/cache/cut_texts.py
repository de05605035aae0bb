"""Texts of which a model read only the beginning: one file of keys for each identity.

All texts with the same beginning get the same vector, so their users should know.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alignkit.cache.keys import KEY, contains
from alignkit.files import refused, write_whole

FOLDER = "cut"


def _path(folder: Path, digest: bytes) -> Path:
    return folder / FOLDER / f"{digest.hex()}.keys"


def read_cut(folder: Path, digest: bytes) -> np.ndarray:
    """Keys `(N,)` of the texts of an identity in the cache at `folder`; a torn last one is left out."""
    try:
        raw = _path(folder, digest).read_bytes()
    except FileNotFoundError:
        raw = b""
    return np.frombuffer(raw[: len(raw) // KEY.itemsize * KEY.itemsize], dtype=KEY)


def add_cut(folder: Path, digest: bytes, keys: np.ndarray) -> None:
    """Add keys `(N,)` of an identity; the caller holds its lock."""
    before = read_cut(folder, digest)
    new = keys[~contains(keys, before)]
    if len(new):
        _write(folder, digest, np.concatenate([before, new]))


def remove_cut(folder: Path, digest: bytes, keys: np.ndarray | None = None) -> None:
    """Take keys `(N,)` of an identity out, or all; the caller holds its lock."""
    before = read_cut(folder, digest)
    if len(before):
        _write(folder, digest, before[:0] if keys is None else before[~contains(before, keys)])


def cut_digests(folder: Path) -> list[bytes]:
    """Identities that have such texts."""
    return [bytes.fromhex(path.stem) for path in sorted((folder / FOLDER).glob("*.keys"))]


def _write(folder: Path, digest: bytes, keys: np.ndarray) -> None:
    path = _path(folder, digest)
    try:
        if not len(keys):
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise refused(path, error) from None
    write_whole(path, keys.tobytes())
