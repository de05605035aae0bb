"""Vectors of a file of sentences as `.npy`, with an index that says which row is whose."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.cache.keyed_texts import KeyedTexts
from alignkit.cache.stored import StoredVectors
from alignkit.cache.vector_cache import VectorCache
from alignkit.errors import CacheError
from alignkit.files import appearing_together, way_out
from alignkit.sentences.records import Sentence

BLOCK_ROWS = 16_384


@contextmanager
def saving_to(cache: VectorCache, folder: Path) -> Iterator[Path]:
    """A folder for what belongs together, which then appears in `folder`: all files or none, one process at a time.

    Raises:
        AlignkitError: if a file there is in use or cannot be written; all of them are then as before.
    """
    place = blake2b(str(folder.resolve()).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    with cache.store.lock_of(f"save-{place}"), appearing_together(folder) as staging:
        yield staging


def save_vectors(
    cache: VectorCache,
    identity: Mapping[str, Any],
    sentences: Sequence[Sentence],
    folder: Path,
    name: str,
    texts: KeyedTexts | None = None,
) -> int:
    """Write `<name>.npy` in the order of the sentences and `<name>_index.json` beside it.

    The index maps each sentence to its row (the first, where it stands twice), and each id where the file of the
    sentences has ids. A quarantined sentence has no row and is listed with the reason.

    Args:
        cache: where the vectors are.
        identity: whose vectors.
        sentences: in the order of the rows.
        folder: from `saving_to`.
        name: `student` or `teacher`.
        texts: those of the sentences, where they are keyed already.

    Returns:
        How many rows were written.

    Raises:
        CacheError: if a text has neither a vector nor a reason, a vector is damaged, or the disk refuses.
    """
    keyed = KeyedTexts([sentence.text for sentence in sentences]) if texts is None else texts
    quarantined = cache.quarantined(identity, keyed)
    positions = np.delete(np.arange(len(sentences)), list(quarantined))
    kept = [sentences[position] for position in positions.tolist()]
    vectors = cache.vectors_of(identity, keyed.take(positions))
    if damaged := vectors.damaged():
        raise CacheError(
            f"{damaged} of {len(vectors)} vectors in {cache.folder} are damaged, nothing was written; "
            "python -m alignkit.embed action=verify takes them out, then the same command embeds them again"
        )
    rows: dict[str, int] = {}
    for row, sentence in enumerate(kept):
        rows.setdefault(sentence.text, row)
    ids = {sentence.id: row for row, sentence in enumerate(kept) if sentence.has_own_id}
    index = {
        "identity": dict(identity),
        "dim": vectors.shape[1],
        "dtype": vectors.dtype.name,
        "rows": rows,
        **({"ids": ids} if ids else {}),
        "quarantined": {sentences[position].text: reason for position, reason in quarantined.items()},
    }
    try:
        _write_npy(vectors, folder / f"{name}.npy")
        with open(folder / f"{name}_index.json", "w", encoding="utf-8", newline="\n") as file:
            json.dump(index, file, ensure_ascii=False, indent=0)
    except OSError as error:
        raise CacheError(f"cannot write {name}.npy ({error.strerror or error}); {way_out(error)}") from error
    return len(kept)


def _write_npy(vectors: StoredVectors, path: Path) -> None:
    """A block at a time, so that it may be larger than memory."""
    with open(path, "wb") as file:
        descr = np.lib.format.dtype_to_descr(vectors.dtype)
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": vectors.shape})
        for start in range(0, len(vectors), BLOCK_ROWS):
            file.write(vectors[start : start + BLOCK_ROWS].data)
