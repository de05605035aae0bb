"""Vectors of a file of sentences as `.npy`, with an index that says which row is whose."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.errors import CacheError

if TYPE_CHECKING:
    from alignkit.cache.vector_cache import VectorCache

BLOCK_ROWS = 16_384


def save_vectors(
    cache: VectorCache,
    identity: Mapping[str, Any],
    ids: Sequence[str],
    texts: Sequence[str],
    folder: Path,
    name: str,
) -> int:
    """Write `<name>.npy` in the order of the sentences and `<name>_index.json` beside it.

    The index maps each sentence's id to its row; a sentence whose text was quarantined has no row and is listed with
    the reason. Both files appear complete or not at all.

    Args:
        cache: where the vectors are.
        identity: whose vectors.
        ids: N sentence ids, distinct.
        texts: N texts.
        folder: made if it is not there.
        name: `student` or `teacher`.

    Returns:
        How many rows were written.

    Raises:
        CacheError: if a text has neither a vector nor a reason, or the disk refuses.
    """
    quarantined = cache.quarantined(identity, texts)
    kept = [position for position in range(len(texts)) if position not in quarantined]
    vectors = cache.vectors_of(identity, [texts[position] for position in kept])
    index = {
        "identity": dict(identity),
        "dim": vectors.shape[1],
        "dtype": vectors.dtype.name,
        "rows": {ids[position]: row for row, position in enumerate(kept)},
        "quarantined": {ids[position]: reason for position, reason in quarantined.items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        temporary = {
            suffix: folder / f"{name}{suffix}.{secrets.token_hex(4)}.tmp" for suffix in (".npy", "_index.json")
        }
        try:
            _write_npy(vectors, temporary[".npy"])
            with open(temporary["_index.json"], "w", encoding="utf-8", newline="\n") as file:
                json.dump(index, file, ensure_ascii=False, indent=0)
            for suffix, path in temporary.items():
                os.replace(path, folder / f"{name}{suffix}")
        finally:
            for path in temporary.values():
                path.unlink(missing_ok=True)
    except OSError as error:
        raise CacheError(f"cannot write {name}.npy to {folder}: {error.strerror or error}") from error
    return len(kept)


def _write_npy(vectors: Any, path: Path) -> None:
    """A block at a time, so that it may be larger than memory."""
    with open(path, "wb") as file:
        descr = np.lib.format.dtype_to_descr(vectors.dtype)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": vectors.shape})
        for start in range(0, len(vectors), BLOCK_ROWS):
            file.write(vectors[start : start + BLOCK_ROWS].data)
