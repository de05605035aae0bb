"""Vectors of many texts as one array: in memory while small, else a file that is mapped.

A view is made once for a list of texts and found again by the next run; `prune` and `forget` delete them all.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.cache.keys import identity_digest, text_keys
from alignkit.errors import CacheError

if TYPE_CHECKING:
    from alignkit.cache.vector_cache import VectorCache

FOLDER = "views"
IN_MEMORY_BYTES = 256 * 1024 * 1024
BLOCK_ROWS = 16_384


def open_vectors(
    cache: VectorCache, identity: Mapping[str, Any], texts: Sequence[str], in_memory_bytes: int = IN_MEMORY_BYTES
) -> np.ndarray:
    """Vectors `(N, dim)` of texts in their order, in the type they are stored in.

    Returns:
        An array, or above `in_memory_bytes` a read-only memory map.

    Raises:
        CacheError: if a text has no vector, or the view cannot be written.
    """
    digest = identity_digest(identity)
    headers = cache.store.headers(digest)
    dim = headers[-1].dim if headers else 0
    dtype = max((np.dtype(header.dtype) for header in headers), default=np.dtype(np.float32))
    shape = (len(texts), dim)
    if not headers or len(texts) * dim * dtype.itemsize <= in_memory_bytes:
        return cache.gather(identity, texts, out=np.empty(shape, dtype=dtype))
    path = cache.folder / FOLDER / f"{_name(digest, texts, dtype)}.npy"
    if not path.is_file():
        _write(cache, identity, texts, path, shape, dtype)
    return np.load(path, mmap_mode="r")


def _name(digest: bytes, texts: Sequence[str], dtype: np.dtype) -> str:
    name = hashlib.blake2b(dtype.name.encode("ascii"), digest_size=16)
    for start in range(0, len(texts), BLOCK_ROWS):
        name.update(text_keys(digest, texts[start : start + BLOCK_ROWS]).tobytes())
    return name.hexdigest()


def _write(
    cache: VectorCache,
    identity: Mapping[str, Any],
    texts: Sequence[str],
    path: Path,
    shape: tuple[int, int],
    dtype: np.dtype,
) -> None:
    temporary = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(exist_ok=True)
        write_npy(cache, identity, texts, temporary, shape, dtype)
        os.replace(temporary, path)
    except OSError as error:
        raise CacheError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_npy(
    cache: VectorCache,
    identity: Mapping[str, Any],
    texts: Sequence[str],
    path: Path,
    shape: tuple[int, int],
    dtype: np.dtype,
) -> None:
    """Write vectors to a `.npy` file, a block at a time."""
    with open(path, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, len(texts), BLOCK_ROWS):
            part = texts[start : start + BLOCK_ROWS]
            block = cache.gather(identity, part, out=np.empty((len(part), shape[1]), dtype=dtype))
            file.write(block.tobytes())


def drop_views(folder: Path) -> int:
    """Delete all views of the cache in `folder`; how many bytes they took.

    Raises:
        CacheError: if one is in use (Windows).
    """
    freed = 0
    for path in (folder / FOLDER).glob("*"):
        size = path.stat().st_size
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise CacheError(f"cannot delete {path}: {error.strerror}; close what uses it and run it again") from None
        freed += size
    return freed
