"""What live queries find through the head, held against what they find by the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from alignkit.errors import DataError
from alignkit.indexes.base import Metric, VectorIndex
from alignkit.object_storage.located import located
from alignkit.progress import progress
from alignkit.vector_files import check_vectors, open_vectors
from alignkit.vectors import top_k

NEAREST = 10
# a text that is in the index itself would be found by any query; rounding, and codes of few bits, cost a little
_ITSELF = 0.999
_AT_ONCE = 1_024
Hits = tuple[list[list[Any]], np.ndarray]


@dataclass(frozen=True)
class Figures:
    """Of Q queries, each against its own teacher.

    Attributes:
        overlap: `(Q,)` share of the teacher's ten nearest texts that the head finds.
        cosine: `(Q,)` of the head's vector with the teacher's.
    """

    overlap: np.ndarray
    cosine: np.ndarray

    def __len__(self) -> int:
        return len(self.overlap)

    def scores(self) -> np.ndarray:
        """`(Q,)`, by which queries are ranked: the overlap, and among equal ones the cosine."""
        return np.asarray(np.round(self.overlap, 6) + 1e-3 * self.cosine)


class Searched(Protocol):
    """What is searched: the vectors of an engine, of a file, or those that the run kept."""

    @property
    def place(self) -> str:
        """What a user would call it; figures of other places are not compared with its."""
        ...

    def cosine_nearest(self, vectors: np.ndarray, k: int) -> Hits:
        """Ids of the hits of each of `(Q, D)` unit vectors, best first, and their cosines `(Q, k)`."""
        ...


class SearchedEngine:
    """An index where it lives, by the engine's own search, as the user's queries have it.

    Args:
        index: open.
        width: of the teacher's vectors.

    Raises:
        DataError: if the index has another width, or no row.
    """

    def __init__(self, index: VectorIndex, width: int) -> None:
        described = index.describe()
        self.place = described.place
        self._index = index
        self._metric: Metric = described.metric or "cosine"
        _check_width(self.place, described.dim, width)
        if not described.rows:
            raise DataError(f"{self.place}: holds no row to be found")

    def cosine_nearest(self, vectors: np.ndarray, k: int) -> Hits:
        """See `Searched`; many queries at once: an engine without an index reads all its rows for each call."""
        ids: list[list[Any]] = []
        scores = [np.empty((0, k), np.float32)]
        with progress("search", "queries") as counted:
            counted.begin(len(vectors))
            for start in range(0, len(vectors), _AT_ONCE):
                found, of_them = self._index.search(vectors[start : start + _AT_ONCE], k)
                ids += found
                scores.append(of_them)
                counted.advance(len(found))
        together = np.concatenate(scores)
        if self._metric == "l2":  # of vectors of length 1 its square is 2 - 2 cos; of others this is lower still
            return ids, np.asarray(1 - together**2 / 2)
        return ids, self._by_length(ids, together) if self._metric == "dot" else together

    def _by_length(self, ids: list[list[Any]], products: np.ndarray) -> np.ndarray:
        """Dot products as cosines, where they are so large that this decides anything."""
        large = {
            one
            for row, of_row in zip(ids, products, strict=True)
            for one, product in zip(row, of_row, strict=False)
            if product >= _ITSELF
        }
        if not large:
            return products
        rows = self._index.fetch(list(large))
        lengths = dict(zip(rows.ids, np.linalg.norm(rows.vectors, axis=1).tolist(), strict=True))
        divisors = np.ones_like(products)
        for place, row in enumerate(ids):
            divisors[place, : len(row)] = [max(lengths.get(one, 1.0), 1e-12) for one in row]
        return np.asarray(products / divisors)


class SearchedVectors:
    """Vectors of the teacher in an array or a file.

    Args:
        place: what they are called.
        vectors: `(C, D)`.
        width: of the teacher's vectors.

    Raises:
        DataError: if they have another width.
    """

    def __init__(self, place: str, vectors: np.ndarray, width: int) -> None:
        _check_width(place, vectors.shape[1], width)
        self.place, self._vectors = place, vectors

    @classmethod
    def of_file(cls, path: str | Path, width: int) -> SearchedVectors:
        """The vectors of a file, `.npy`, `.npz` or `.safetensors`.

        Raises:
            DataError: if it holds no vectors, or of another width.
        """
        vectors = open_vectors(path)
        check_vectors(vectors, path)
        return cls(str(located(path).resolve()), vectors, width)

    def cosine_nearest(self, vectors: np.ndarray, k: int) -> Hits:
        """See `Searched`; exact."""
        scores, rows = (part.numpy() for part in top_k(vectors, self._vectors, k))
        return [[row for row in one if row >= 0] for one in rows.tolist()], scores


def figures_of(
    searched: Searched, aligned: np.ndarray, teacher: np.ndarray, plain: np.ndarray | None = None
) -> Figures:
    """Search with both vectors of each query; a text that is in the index itself is not counted.

    Args:
        searched: the teacher's vectors.
        aligned: `(Q, D)` by student and head, rows of length 1.
        teacher: `(Q, D)` by the teacher, likewise.
        plain: `(Q, D)` as the head imitates the teacher, likewise, where queries are whitened for the search; the
            cosine is its, as in the head's report.
    """
    both, scores = searched.cosine_nearest(np.concatenate([teacher, aligned]), NEAREST + 1)
    count = len(teacher)
    shares = [
        _overlap(wanted, own, found)
        for wanted, own, found in zip(both[:count], scores[:count], both[count:], strict=True)
    ]
    cosines = ((aligned if plain is None else plain) * teacher).sum(axis=1)
    return Figures(np.array(shares, dtype=np.float64), cosines.astype(np.float64))


def _overlap(wanted: Sequence[Any], scores: np.ndarray, found: Sequence[Any]) -> float:
    itself = {one for one, score in zip(wanted, scores, strict=False) if score >= _ITSELF}
    if len(itself) == len(wanted):  # an index of copies of one text
        itself = set()
    right = [one for one in wanted if one not in itself][:NEAREST]
    hits = [one for one in found if one not in itself][:NEAREST]
    return len({*right} & {*hits}) / len(right)


def _check_width(place: str, found: int, expected: int) -> None:
    if found != expected:
        raise DataError(
            f"{place}: holds {found}-d vectors, the head gives {expected}-d; give the index that its teacher made"
        )
