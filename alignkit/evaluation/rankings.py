"""What each row of the table finds: its queries against the corpus that it would search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignkit.evaluation.alignment import align
from alignkit.evaluation.sets import EvaluationSet
from alignkit.heads.base import Head
from alignkit.vectors import l2_normalize, top_k

DEPTH = 100
CASCADE_SHARE = 0.05
_RERANKED_ELEMENTS = 8 * 1024 * 1024


@dataclass(frozen=True)
class Ranking:
    """The first K hits of every query: corpus rows `(Q, K)`, -1 pads, and their cosines `(Q, K)`, -inf pads."""

    rows: np.ndarray
    scores: np.ndarray


class AlignedRows:
    """A corpus that goes through a head a block at a time, so that its aligned vectors are never held whole."""

    def __init__(self, head: Head, student: np.ndarray) -> None:
        self._head, self._student = head, student

    def __len__(self) -> int:
        return len(self._student)

    def __getitem__(self, rows: slice) -> Tensor:
        return align(self._head, self._student[rows])


def cascade_size(corpus_rows: int) -> int:
    """How many hits the teacher reranks: 100, at most a twentieth of the corpus, at least 10.

    A cascade over much of the corpus would find what the teacher finds whatever the head is worth.

    >>> [cascade_size(rows) for rows in (50, 600, 100_000)]
    [10, 30, 100]
    """
    return max(10, min(DEPTH, int(corpus_rows * CASCADE_SHARE)))


def rank_all(
    test: EvaluationSet, vectors: Mapping[str, Tensor], query_head: Head, document_head: Head, depth: int = DEPTH
) -> dict[str, Ranking]:
    """Rankings of every row that searches an index of its own or the teacher's.

    Args:
        test: queries and corpus.
        vectors: row name → `(Q, teacher_dim)`, queries that search the teacher's corpus; `aligned` is among them.
        query_head: the head of `aligned`.
        document_head: what makes the corpus of `aligned_both`.
        depth: hits a query; a smaller corpus gives as many as it has.
    """
    depth = min(depth, len(test.corpus))
    names = list(vectors)
    # one pass over the corpus serves all rows that search it
    together = torch.cat([vectors[name] for name in names])
    scores, rows = top_k(together, test.corpus.teacher, depth, exclude=np.tile(test.itself, len(names)))
    count = len(test.queries)
    found = {
        name: Ranking(rows[part : part + count].numpy(), scores[part : part + count].numpy())
        for name, part in zip(names, range(0, len(rows), count), strict=True)
    }
    del together
    aligned_corpus = AlignedRows(document_head, test.corpus.student)
    found["aligned_both"] = _ranking(vectors["aligned"], aligned_corpus, depth, test.itself)
    found["student"] = _ranking(test.queries.student, test.corpus.student, depth, test.itself)
    return found


def _ranking(queries: Tensor | np.ndarray, corpus: np.ndarray | AlignedRows, depth: int, itself: np.ndarray) -> Ranking:
    scores, rows = top_k(queries, corpus, depth, exclude=itself)  # type: ignore[arg-type]
    return Ranking(rows.numpy(), scores.numpy())


def rerank(found: Ranking, teacher_queries: np.ndarray, teacher_corpus: np.ndarray, size: int) -> Ranking:
    """The first `size` hits in the order of the teacher's own cosines: what a cascade returns.

    Args:
        found: of the cheap model.
        teacher_queries: `(Q, teacher_dim)`.
        teacher_corpus: `(C, teacher_dim)`.
        size: N of cascade@N.
    """
    candidates = found.rows[:, :size]
    scores = np.full(candidates.shape, -np.inf, dtype=np.float32)
    at_once = max(1, _RERANKED_ELEMENTS // (candidates.shape[1] * teacher_queries.shape[1]))
    for start in range(0, len(candidates), at_once):
        here = candidates[start : start + at_once]
        # unique rows in ascending order: a memory map is read once and forward
        rows, place = np.unique(np.maximum(here, 0), return_inverse=True)
        corpus = l2_normalize(torch.from_numpy(np.array(teacher_corpus[rows], dtype=np.float32)))
        queries = np.array(teacher_queries[start : start + at_once], dtype=np.float32)
        query = l2_normalize(torch.from_numpy(queries)).unsqueeze(2)
        cosines = torch.bmm(corpus[torch.from_numpy(place.reshape(here.shape))], query).squeeze(2)
        scores[start : start + at_once] = np.where(here >= 0, cosines.numpy(), -np.inf)
    order = np.lexsort((candidates, -scores), axis=1)
    return Ranking(np.take_along_axis(candidates, order, axis=1), np.take_along_axis(scores, order, axis=1))
