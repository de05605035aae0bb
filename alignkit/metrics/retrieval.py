"""Retrieval metrics for all queries at once: recall, reciprocal rank, nDCG and the overlap with a teacher's ranking.

A ranking is an array of corpus rows `(Q, K)`, best first, -1 where nothing was found. A ranking is graded once, by
qrels or by equal labels, into a `Judged`. Every metric is then arithmetic on it and gives one figure per query, so
that intervals can be taken over queries. Scores play no part: a negative cosine ranks like any other number.
Every function raises a `DataError` where shapes do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.errors import DataError
from alignkit.shapes import check_shapes


@dataclass(frozen=True)
class Judged:
    """Rankings with the grade of every hit.

    Attributes:
        gains: `(Q, K)` float64, grade of the hit at each rank; 0 where it is not relevant or nothing was found.
        ideal: `(Q, K)` float64, the K best grades that the corpus holds for the query, descending, padded with 0.
        relevant: `(Q,)` int64, how many relevant rows the corpus holds.
    """

    gains: np.ndarray
    ideal: np.ndarray
    relevant: np.ndarray

    def __post_init__(self) -> None:
        check_shapes(gains=(self.gains, "Q K"), ideal=(self.ideal, "Q K"), relevant=(self.relevant, "Q"))


@dataclass(frozen=True)
class Qrels:
    """Judgements of Q queries over a corpus of C rows. Made by `Qrels.of`.

    Attributes:
        keys: ascending int64, `query * C + row` of every relevant pair.
        grades: float64 above 0, in the order of `keys`.
        shape: (Q, C).
    """

    keys: np.ndarray
    grades: np.ndarray
    shape: tuple[int, int]

    @classmethod
    def of(cls, queries: Sequence[int], rows: Sequence[int], grades: Sequence[float], shape: tuple[int, int]) -> Qrels:
        """From three columns of equal length. A grade of 0 or below means "not relevant", as in trec_eval.

        Args:
            queries: `(J,)`, query of each judgement, 0 to Q - 1.
            rows: `(J,)`, corpus row of each judgement, 0 to C - 1.
            grades: `(J,)` real numbers.
            shape: (Q, C).

        Raises:
            DataError: if a pair is judged twice or a position is outside `shape`.
        """
        check_shapes(queries=(queries, "J"), rows=(rows, "J"), grades=(grades, "J"))
        query_column, row_column = np.asarray(queries, dtype=np.int64), np.asarray(rows, dtype=np.int64)
        grade_column = np.asarray(grades, dtype=np.float64)
        for name, column, size in (("query", query_column, shape[0]), ("corpus row", row_column, shape[1])):
            if len(column) and not (0 <= column.min() and column.max() < size):
                raise DataError(f"the qrels name a {name} outside 0 to {size - 1}")
        keys = query_column * shape[1] + row_column
        order = np.argsort(keys, kind="stable")
        keys, grade_column = keys[order], grade_column[order]
        if (repeated := np.flatnonzero(keys[1:] == keys[:-1])).size:
            query, row = divmod(int(keys[repeated[0]]), shape[1])
            raise DataError(f"query {query} and corpus row {row} are judged twice; keep one line of the qrels")
        relevant = grade_column > 0
        return cls(keys[relevant], grade_column[relevant], shape)

    def judge(self, found: np.ndarray) -> Judged:
        """Grade a ranking.

        Args:
            found: `(Q, K)` corpus rows, -1 where nothing was found.

        >>> qrels = Qrels.of([0, 0], [3, 1], [1, 2], shape=(1, 4))
        >>> qrels.judge(np.array([[3, 0]])).gains
        array([[1., 0.]])
        """
        check_shapes(queries=(range(self.shape[0]), "Q"), found=(found, "Q K"))
        depth = found.shape[1]
        gains = np.zeros(found.shape)
        if len(self.keys):
            wanted = np.arange(self.shape[0], dtype=np.int64)[:, None] * self.shape[1] + found
            place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
            hit = (self.keys[place] == wanted) & (found >= 0)
            gains[hit] = self.grades[place[hit]]
        query = self.keys // self.shape[1]
        relevant = np.bincount(query, minlength=self.shape[0])
        ideal = np.zeros((self.shape[0], depth))
        best_first = np.lexsort((-self.grades, query))
        rank = np.arange(len(query)) - (np.cumsum(relevant) - relevant)[query]
        kept = rank < depth
        ideal[query[kept], rank[kept]] = self.grades[best_first][kept]
        return Judged(gains, ideal, relevant)


def judge_by_label(
    found: np.ndarray, query_labels: Sequence[str], corpus_labels: Sequence[str], exclude: np.ndarray | None = None
) -> Judged:
    """Grade a ranking by labels: a hit is relevant, with grade 1, if its label is the query's.

    Args:
        found: `(Q, K)` corpus rows, -1 where nothing was found.
        query_labels: `(Q,)` names.
        corpus_labels: `(C,)` names.
        exclude: `(Q,)`, the corpus row that is the query itself and does not count, -1 for none.

    >>> judge_by_label(np.array([[1, 2]]), ["a"], ["a", "b", "a"], exclude=np.array([0])).gains
    array([[0., 1.]])
    """
    check_shapes(
        found=(found, "Q K"),
        query_labels=(query_labels, "Q"),
        corpus_labels=(corpus_labels, "C"),
        **({} if exclude is None else {"exclude": (exclude, "Q")}),
    )
    names, codes = np.unique(np.asarray([*query_labels, *corpus_labels], dtype=object).astype(str), return_inverse=True)
    query_codes, corpus_codes = codes[: len(query_labels)], codes[len(query_labels) :]
    gains = ((corpus_codes[found] == query_codes[:, None]) & (found >= 0)).astype(np.float64)
    relevant = np.bincount(corpus_codes, minlength=len(names))[query_codes]
    if exclude is not None:
        relevant = relevant - ((exclude >= 0) & (corpus_codes[exclude] == query_codes))
    ideal = (np.arange(found.shape[1]) < relevant[:, None]).astype(np.float64)
    return Judged(gains, ideal, relevant)


def recall_at_k(judged: Judged, k: int) -> np.ndarray:
    """Share of a query's relevant rows among its first k hits, `(Q,)` in [0, 1]; NaN where nothing is relevant.

    As trec_eval's `recall_K` with relevance level 1.

    >>> recall_at_k(Judged(np.array([[0.0, 1.0]]), np.array([[1.0, 1.0]]), np.array([2])), k=2)
    array([0.5])
    """
    return _divide((judged.gains[:, :k] > 0).sum(axis=1), judged.relevant)


def reciprocal_rank(judged: Judged, k: int | None = None) -> np.ndarray:
    """1 / rank of the first relevant hit among the first k (all that were found, if `None`), `(Q,)` in [0, 1].

    0 where none is among them, NaN where nothing is relevant. As trec_eval's `recip_rank`.

    >>> reciprocal_rank(Judged(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), np.array([1])))
    array([0.5])
    """
    hits = judged.gains[:, :k] > 0
    figures = np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0)
    return np.where(judged.relevant > 0, figures, np.nan)


def ndcg_at_k(judged: Judged, k: int) -> np.ndarray:
    """Normalised discounted cumulative gain of the first k hits, `(Q,)` in [0, 1]; NaN where nothing is relevant.

    Gain is the grade itself and the discount log2(rank + 1), as trec_eval's `ndcg_cut_K` has it; the variant with gain
    2^grade - 1 gives other figures for graded judgements.

    Source: Jarvelin and Kekalainen, Cumulated gain-based evaluation, ACM TOIS 20 (2002).

    >>> ndcg_at_k(Judged(np.array([[0.0, 1.0]]), np.array([[1.0, 0.0]]), np.array([1])), k=2).round(3)
    array([0.631])
    """
    discount = 1.0 / np.log2(np.arange(2, min(k, judged.gains.shape[1]) + 2))
    return _divide(judged.gains[:, :k] @ discount, judged.ideal[:, :k] @ discount)


def ranking_overlap(found: np.ndarray, teacher_found: np.ndarray, k: int) -> np.ndarray:
    """Share of the teacher's first k hits that are among the first k found, `(Q,)` in [0, 1].

    Needs no judgements. Where the teacher found fewer than k hits (a small corpus), the share is of those; NaN where it
    found none.

    Args:
        found: `(Q, K)` corpus rows, -1 where nothing was found.
        teacher_found: `(Q, L)`, the same for the teacher's search.
        k: depth.

    >>> ranking_overlap(np.array([[4, 1, 2]]), np.array([[1, 2, 3]]), k=2)
    array([0.5])
    """
    check_shapes(found=(found, "Q K"), teacher_found=(teacher_found, "Q L"))
    mine, theirs = np.sort(found[:, :k], axis=1), teacher_found[:, :k]
    # one flat sorted array, in which every query's rows lie in a band of their own
    band = np.arange(len(mine), dtype=np.int64)[:, None] * (int(max(mine.max(initial=0), theirs.max(initial=0))) + 2)
    keys, wanted = (mine + 1 + band).ravel(), theirs + 1 + band
    place = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    shared = (keys[place] == wanted) & (theirs >= 0) if len(keys) else np.zeros(wanted.shape, dtype=bool)
    return _divide(shared.sum(axis=1), (theirs >= 0).sum(axis=1))


def _divide(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    whole = np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
