"""A new file of faiss, and one of the texts beside it, written from the rows of another index."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from alignkit.errors import ConfigError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.indexes.faiss import FaissIndex, faiss_module
from alignkit.indexes.faiss_replacement import LINKS, ROWS_AT_ONCE, write_index
from alignkit.indexes.new_file import NewFile
from alignkit.indexes.replacing import setting

# below that, reading every vector is as fast
FEWEST_FOR_HNSW = 10_000
_SUFFIX = ".jsonl"


class NewFaissIndex(NewFile):
    """A flat index, or HNSW where there are rows enough; see `NewFile`.

    Texts, payload, and ids that are no whole numbers stand in the file of texts, a line a row in the order of the
    index. Rows without a vector have a zero vector, as faiss knows no missing ones.

    Args:
        path: of the index.
        texts: of the texts, which ends in `.jsonl`; `None` for the name of the index with that ending.
    """

    def __init__(self, path: str, texts: str | None = None) -> None:
        self.faiss = faiss_module()
        index = Path(path).expanduser()
        beside = index.with_suffix(_SUFFIX) if texts is None else Path(texts).expanduser()
        if beside.suffix.lower() != _SUFFIX or beside == index:
            raise ConfigError(f"{setting('texts')}={texts}: expected the name of a file that ends in {_SUFFIX}")
        super().__init__(index, beside)
        self.own_fields = ("id", "text")

    def way(self, dim: int) -> str:
        """See `NewIndex`."""
        return (
            f"rows are gathered in a file beside it, and written as an index of faiss and its texts, {self.files[0]}, "
            "which keeps ids and payload too; both get their names at cut_over, one after the other"
        )

    def build(self, dim: int, metric: Metric, *files: Path) -> str:
        """See `NewFile`."""
        faiss, numbers, count = self.faiss, self.gathered.has_whole_ids(), self.gathered.count()
        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        flat = count < FEWEST_FOR_HNSW
        index = faiss.IndexFlat(dim, kind) if flat else faiss.IndexHNSWFlat(dim, LINKS, kind)
        if numbers:
            index = faiss.IndexIDMap2(index)
        with files[0].open("w", encoding="utf-8", newline="\n") as texts:
            for rows in self.gathered.batches(dim, ROWS_AT_ONCE):
                vectors = np.nan_to_num(rows.vectors, nan=0.0)
                if numbers:
                    index.add_with_ids(vectors, np.asarray(rows.ids, np.int64))
                else:
                    index.add(vectors)
                lines = zip(rows.ids, rows.texts or [""] * len(rows), rows.payload, strict=True)
                texts.writelines(
                    json.dumps({"id": own, "text": text, **payload}, ensure_ascii=False) + "\n"
                    for own, text, payload in lines
                )
        write_index(faiss, index, files[-1])
        return "a flat index" if flat else "HNSW"

    def opened(self) -> VectorIndex:
        """See `NewIndex`."""
        texts, path = self.current()
        return FaissIndex(str(path), str(texts))
