"""The student's own vectors of an index's texts, in memory: what it would find without the teacher's index."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignkit.indexes.base import VectorIndex
from alignkit.indexes.exact import unit_rows
from alignkit.indexes.filters import Filter
from alignkit.indexes.index_rows import Id
from alignkit.searching.hits import Hit, hits_of


class TextTable:
    """Rows of an index with other vectors than it holds, searched exactly by the cosine.

    Args:
        ids: N, of the index.
        vectors: `(N, D)`; zero rows are never found.
    """

    def __init__(self, ids: Sequence[Id], vectors: np.ndarray) -> None:
        self.ids, self._unit = list(ids), unit_rows(vectors)

    def nearest(
        self, index: VectorIndex, dim: int, vector: np.ndarray, k: int, where: Filter | None = None
    ) -> list[Hit]:
        """The `k` best rows for a vector `(D,)`, with what the index holds of them now.

        Args:
            index: that the ids are of; it says which rows pass, whatever their vectors are.
            dim: of the index's own vectors.
            vector: the query.
            k: hits.
            where: as for `VectorIndex.search`.
        """
        scores = self._unit @ unit_rows(vector[None])[0]
        order = np.argsort(-scores, kind="stable").tolist()
        if where:
            any_vector = np.ones((1, dim), np.float32)
            passing = set(index.search(any_vector, max(len(self.ids), 1), where)[0][0])
            order = [row for row in order if self.ids[row] in passing]
        best = {self.ids[row]: float(scores[row]) for row in order[:k]}
        return hits_of(index.fetch(list(best)), best)
