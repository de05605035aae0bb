"""A file of faiss with new vectors, of the kind that the old one is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from alignkit.indexes.base import VectorIndex
from alignkit.indexes.file_replacement import FileReplacement
from alignkit.indexes.index_rows import IndexRows

Old = tuple[Any, np.ndarray | None]
ROWS_AT_ONCE = 16_384
LINKS = 32
# of k-means, a list: faiss's own recommendation is 39 to 256
POINTS_A_LIST = 64


class FaissReplacement(FileReplacement):
    """See `FileReplacement`; a compressed index becomes one of whole vectors, and rows without a vector zero.

    Args:
        index: over the file.
        path: of the file.
        reopen: as `FileReplacement` has it.
        opened: likewise.
        faiss: the library.
        old: gives the index as it is now, without the ids around it, and its own ids if rows are not counted.
    """

    def __init__(
        self,
        index: VectorIndex,
        path: Path,
        reopen: Callable[[], None],
        opened: Callable[[str], VectorIndex],
        faiss: ModuleType,
        old: Callable[[], Old],
    ) -> None:
        super().__init__(index, path, reopen, opened)
        self.faiss, self._old = faiss, old

    def repeated(self) -> int:
        """See `FileReplacement`."""
        ids = self._old()[1]
        return 0 if ids is None else len(ids) - len(np.unique(ids))

    def position(self, rows: IndexRows) -> int:
        """See `FileReplacement`."""
        return int(rows.cursor) - len(rows)

    def build(self, vectors: np.ndarray, done: np.ndarray, out: Path) -> str:
        """See `FileReplacement`."""
        like, ids = self._old()
        index, name = self._empty(like, vectors)
        if ids is not None:
            index = self.faiss.IndexIDMap2(index)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = np.nan_to_num(vectors[start : start + ROWS_AT_ONCE], nan=0.0)
            if ids is None:
                index.add(part)
            else:
                index.add_with_ids(part, ids[start : start + ROWS_AT_ONCE])
        write_index(self.faiss, index, out)
        return name

    def _empty(self, like: Any, vectors: np.ndarray) -> tuple[Any, str]:
        faiss, dim, metric = self.faiss, vectors.shape[1], like.metric_type
        ivf = faiss.try_extract_index_ivf(like)
        if ivf is not None:
            quantizer = faiss.IndexFlat(dim, metric)
            index = faiss.IndexIVFFlat(quantizer, dim, ivf.nlist, metric)
            step = max(1, len(vectors) // (POINTS_A_LIST * ivf.nlist))
            index.train(np.nan_to_num(np.ascontiguousarray(vectors[::step]), nan=0.0))
            index.nprobe = ivf.nprobe
            return index, f"IVF of {ivf.nlist:,} lists"
        if isinstance(like, faiss.IndexHNSW):
            index = faiss.IndexHNSWFlat(dim, LINKS, metric)
            index.hnsw.efSearch = like.hnsw.efSearch
            return index, "HNSW"
        return faiss.IndexFlat(dim, metric), "a flat index"


def write_index(faiss: ModuleType, index: Any, out: Path) -> None:
    """Write a file of faiss; its own writing says nothing of a full disk where the end is cut off.

    Raises:
        OSError: if it cannot be written whole.
    """
    with out.open("wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))
        file.flush()
        os.fsync(file.fileno())
