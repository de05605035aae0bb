"""A file of faiss; texts, which it cannot hold, come from a file beside it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import repeat
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.extras import needing
from alignkit.indexes.base import IndexDescription, Metric, VectorIndex
from alignkit.indexes.exact import exact_search, query_matrix
from alignkit.indexes.faiss_replacement import FaissReplacement
from alignkit.indexes.filters import Condition, Filter, conditions_of, passes
from alignkit.indexes.index_rows import Cursor, Id, IndexRows, whole_ids
from alignkit.indexes.replacement import Replacement
from alignkit.indexes.usable import usable

# kinds that give back what was stored, and the numbers they store
_EXACT = {"IndexFlat": "float32", "IndexHNSWFlat": "float32", "IndexIVFFlat": "float32", "IndexNSGFlat": "float32"}


def faiss_module() -> ModuleType:
    """The library.

    Raises:
        MissingExtraError: if it is not installed.
    """
    with needing("faiss", "faiss-cpu"), warnings.catch_warnings():
        # its bindings name no module on Python 3.12 and later
        warnings.simplefilter("ignore", DeprecationWarning)
        import faiss
    return faiss


class FaissIndex(VectorIndex):
    """Rows in the order of the file, which is mapped until `close`; a compressed index gives what its codes stand for.

    Args:
        path: of the file, as `faiss.write_index` writes it.
        texts: file of the texts (`.txt`, `.jsonl`, `.csv`, `.parquet` …), row i that of position i. Its ids name the
            rows where the index has none of its own.

    Raises:
        DataError: if a file cannot be used, or the texts are not as many as the vectors.
        MissingExtraError: without faiss.
    """

    _index: Any = None
    _inner: Any = None
    _ivf: Any = None

    def __init__(self, path: str, texts: str | None = None) -> None:
        self.faiss = faiss_module()
        self.path = Path(path).expanduser()
        self._texts_file = texts
        self._open()

    def close(self) -> None:
        """See `VectorIndex`; unmaps the file, which Windows would not replace otherwise."""
        self._inner = self._ivf = self._index = None

    def describe(self) -> IndexDescription:
        """See `VectorIndex`."""
        metric: Metric = "dot" if self._index.metric_type == self.faiss.METRIC_INNER_PRODUCT else "l2"
        return IndexDescription(
            self._index.ntotal, self._index.d, self._dtype(), metric, self._fields(), str(self.path)
        )

    def scan(self, after: Cursor = None, batch: int = 4096) -> Iterator[IndexRows]:
        """See `VectorIndex`."""
        rows = self._index.ntotal
        for start in range(after or 0, rows, batch):
            yield self._rows(range(start, min(start + batch, rows)))

    def fetch(self, ids: Sequence[Id]) -> IndexRows:
        """See `VectorIndex`."""
        if self._place is None:
            return self._rows([one for one in whole_ids(ids) if 0 <= one < self._index.ntotal])
        named = map(str, ids) if self._named_by_texts else whole_ids(ids)
        return self._rows([self._place[one] for one in named if one in self._place])

    def search(self, vectors: np.ndarray, k: int, where: Filter | None = None) -> tuple[list[list[Id]], np.ndarray]:
        """See `VectorIndex`; by the index's own settings, such as `nprobe`, as they are in the file.

        With a filter, which can only be about ids and texts, all rows that pass are compared.
        """
        if conditions := conditions_of(where, self._fields(), str(self.path)):
            return exact_search(self, vectors, k, self._passing(conditions))
        scores, found = self._index.search(query_matrix(vectors, self._index.d), k)
        if self._index.metric_type != self.faiss.METRIC_INNER_PRODUCT:
            scores = -np.sqrt(np.maximum(scores, 0))
        scores = np.where(found < 0, -np.inf, scores).astype(np.float32)
        return [[self._named(one) for one in hits if one >= 0] for hits in found.tolist()], scores

    def replacement(self) -> Replacement[VectorIndex]:
        """See `FaissReplacement`."""
        opened = partial(FaissIndex, texts=self._texts_file)
        return FaissReplacement(self, self.path, self._open, opened, self.faiss, self._old)

    def _fields(self) -> tuple[str, ...]:
        return ("id",) if self.texts is None else ("id", "text")

    def _passing(self, conditions: Sequence[Condition], batch: int = 4096) -> Iterator[IndexRows]:
        texts = self.texts or repeat(None)
        rows = enumerate(zip(self._ids, texts, strict=False))
        kept = [place for place, (one, text) in rows if passes({"id": one, "text": text}, conditions)]
        for start in range(0, len(kept), batch):
            yield self._rows(kept[start : start + batch])

    def _old(self) -> tuple[Any, np.ndarray | None]:
        own = not self._named_by_texts and not isinstance(self._ids, range)
        return self._inner, np.asarray(self._ids, np.int64) if own else None

    def _named(self, found: int) -> Id:
        """The row's id: faiss gives its own, or a position that the file of texts names."""
        return self._ids[found] if self._named_by_texts else found

    def _open(self) -> None:
        # the library's views into an index do not keep it alive
        self._index = self._opened()
        self._ids: Sequence[Id]
        self._inner, self._ids = self._parts()
        self.texts: list[str] | None = None
        self._named_by_texts = False
        if self._texts_file is not None:
            self._take_texts(self._texts_file)
        self._place = {one: place for place, one in enumerate(self._ids)} if isinstance(self._ids, list) else None

    def _opened(self) -> Any:
        if not self.path.is_file():
            raise DataError(f"{self.path}: no such file")
        try:
            index = self.faiss.read_index(str(self.path), self.faiss.IO_FLAG_MMAP | self.faiss.IO_FLAG_READ_ONLY)
        except RuntimeError as error:
            why = str(error).strip().splitlines()[0].rpartition("Error: ")[2]
            raise DataError(f"{self.path}: not an index that faiss can read ({why})") from None
        if index.ntotal == 0:
            raise DataError(f"{self.path}: holds no vectors")
        return index

    def _parts(self) -> tuple[Any, Sequence[int]]:
        """What reconstructs vectors, and the ids in its order."""
        faiss, inner = self.faiss, self.faiss.downcast_index(self._index)
        ids: Sequence[int] = range(self._index.ntotal)
        if isinstance(inner, faiss.IndexIDMap):
            ids = faiss.vector_to_array(inner.id_map).tolist()
            inner = faiss.downcast_index(inner.index)
        self._ivf = faiss.try_extract_index_ivf(inner)
        if self._ivf is not None:
            own = np.sort(self._ids_of_lists(self._ivf))
            self._ivf.set_direct_map_type(faiss.DirectMap.Hashtable)
            self._keys = own
            if not np.array_equal(own, np.arange(len(own))):
                ids = own.tolist()
        return inner, ids

    def _ids_of_lists(self, ivf: Any) -> np.ndarray:
        faiss, lists = self.faiss, ivf.invlists
        sizes = [lists.list_size(place) for place in range(lists.nlist)]
        parts = [faiss.rev_swig_ptr(lists.get_ids(place), size).copy() for place, size in enumerate(sizes) if size]
        return np.concatenate(parts)

    def _take_texts(self, path: str) -> None:
        from alignkit.sentences.sentence_files import read_sentences

        sentences = read_sentences(path)
        if len(sentences) != self._index.ntotal:
            raise DataError(
                f"{path}: holds {len(sentences):,} texts, {self.path} {self._index.ntotal:,} vectors; give the texts "
                "that the index was made from, in its order"
            )
        self.texts = [sentence.text for sentence in sentences]
        if isinstance(self._ids, range) and all(sentence.has_own_id for sentence in sentences):
            self._ids = [sentence.id for sentence in sentences]
            self._named_by_texts = True

    def _rows(self, places: Sequence[int]) -> IndexRows:
        places = list(places)
        keys = np.asarray(places, np.int64) if self._ivf is None else self._keys[places]
        vectors = np.empty((len(places), self._index.d), np.float32)
        if places:
            vectors = self._inner.reconstruct_batch(keys)
        vectors, faults = usable(vectors)
        return IndexRows(
            ids=[self._ids[place] for place in places],
            vectors=vectors,
            texts=None if self.texts is None else [self.texts[place] for place in places],
            payload=[{} for _ in places],
            cursor=places[-1] + 1 if places else None,
            faults=faults,
        )

    def _dtype(self) -> str:
        name = type(self._inner).__name__
        quantizer = getattr(self._inner, "sq", None)
        if quantizer is not None and quantizer.qtype == self.faiss.ScalarQuantizer.QT_fp16:
            return "float16"
        return next((dtype for kind, dtype in _EXACT.items() if name.startswith(kind)), f"codes of {name}")
