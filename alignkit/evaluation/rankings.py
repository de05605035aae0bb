"""What each row of the table finds: its queries against the corpus that it would search."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alignkit.corpus_blocks import as_tensor
from alignkit.evaluation.aligning import align
from alignkit.evaluation.evaluate_rules import SEARCHES
from alignkit.evaluation.faiss_search import faiss_top_k
from alignkit.evaluation.table_rows import HEAD_ALONE, Product, RowName
from alignkit.heads.base import Head
from alignkit.neighbours import ordered
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.pairs.placed_rows import bytes_to_place, copied
from alignkit.pairs.unit_rows import UnitRows
from alignkit.setting_rules import check, one_of
from alignkit.vectors import top_k

CPU, EXACT = torch.device("cpu"), "exact"
DEPTH = 100
CASCADE_SHARE = 0.05
# aligned corpora up to this size are held in memory
HELD_BYTES = 320 * 1024 * 1024
# of a GPU's free memory, for a copy of a corpus
CORPUS_SHARE = 0.5
# as `neighbours.top_k` does
Find = Callable[..., tuple[Tensor, Tensor]]
# both are exact and return the same rows
_FIND: dict[str, Find] = dict(zip(SEARCHES, (top_k, faiss_top_k), strict=True))


@dataclass(frozen=True)
class Ranking:
    """The first K hits of every query: corpus rows `(Q, K)`, -1 pads, and their cosines `(Q, K)`, -inf pads."""

    rows: np.ndarray
    scores: np.ndarray


class AlignedRows:
    """A corpus that goes through a head a block at a time, so that its aligned vectors need not be held whole."""

    def __init__(self, head: Head, student: np.ndarray, device: torch.device) -> None:
        self.head, self.student, self._device = copy.deepcopy(head).to(device), student, device

    def __len__(self) -> int:
        return len(self.student)

    def __getitem__(self, rows: slice) -> Tensor:
        return align(self.head, self.student[rows], device=self._device)


def cascade_size(corpus_rows: int) -> int:
    """How many hits the teacher reranks: 100, at most a twentieth of the corpus, at least 10.

    A cascade over much of the corpus would find what the teacher finds whatever the head is worth.

    >>> [cascade_size(rows) for rows in (50, 600, 100_000)]
    [10, 30, 100]
    """
    return max(10, min(DEPTH, int(corpus_rows * CASCADE_SHARE)))


def rank_all(
    test: EvaluationSet, vectors: Mapping[RowName, Tensor], document_head: Head, search: str | Find = EXACT,
    product: Product = HEAD_ALONE, device: torch.device = CPU, teacher_corpus: Tensor | np.ndarray | None = None,
) -> dict[RowName, Ranking]:  # fmt: skip
    """Rankings of every row that searches an index of its own or the teacher's.

    Args:
        test: queries and corpus.
        vectors: row → `(Q, teacher_dim)`, rows of length 1 that search the teacher's corpus; the product's are among
            them, and its plain ones where those are whitened.
        document_head: what makes the corpus of `product.both`.
        search: `exact` or `faiss`, see `SEARCHES`, or what searches in their place, on the CPU.
        product: the rows of the student and the head.
        device: where an exact search computes; faiss searches on the CPU.
        teacher_corpus: what `corpus_on` gave for the teacher's vectors, where the caller needs it too.

    Raises:
        ConfigError: for another search.
        MissingExtraError: for faiss, if it is not installed.
    """
    find, device = _find(search), device if search == EXACT else CPU
    corpus = corpus_on(test.corpus.teacher, device) if teacher_corpus is None else teacher_corpus
    depth = min(DEPTH, len(test.corpus))
    # one pass over the corpus serves all rows that search it, and one query where all are the same (the mean predictor)
    constant = {name for name, own in vectors.items() if bool((own == own[0]).all())}
    together = torch.cat([own[:1] if name in constant else own for name, own in vectors.items()])
    itself = np.concatenate([[-1] if name in constant else test.itself for name in vectors])
    scores, rows = (part.cpu().numpy() for part in find(together.to(device), corpus, depth + 1, exclude=itself))
    del together, corpus
    found, start = {}, 0
    for name in vectors:
        part = slice(start, start + (1 if name in constant else len(test.queries)))
        hits = Ranking(rows[part], scores[part])
        found[name] = (
            _for_each(hits, test.itself) if name in constant else Ranking(hits.rows[:, :-1], hits.scores[:, :-1])
        )
        start = part.stop
    aligned_corpus: AlignedRows | Tensor = AlignedRows(document_head, test.corpus.student, device)
    if 4 * len(test.corpus) * vectors[product.row].shape[1] <= HELD_BYTES:
        aligned_corpus = aligned_corpus[:]  # a search looks at it more than once
    # whitening suits the teacher's own index alone
    plain = vectors.get(product.plain, vectors[product.row])
    found[product.both] = _ranking(find(plain.to(device), aligned_corpus, depth, exclude=test.itself))
    found[product.own_index] = rank_own_index(test, search, device)
    return found


def rank_own_index(test: EvaluationSet, search: str | Find = EXACT, device: torch.device = CPU) -> Ranking:
    """What the student finds in an index of its own, as `rank_all` searches."""
    device = device if search == EXACT else CPU
    queries, corpus = as_tensor(test.queries.student).to(device), corpus_on(test.corpus.student, device)
    return _ranking(_find(search)(queries, corpus, min(DEPTH, len(test.corpus)), exclude=test.itself))


def _find(search: str | Find) -> Find:
    if callable(search):
        return search
    check({"search": search}, {"search": one_of(SEARCHES)})
    return _FIND[search]


def corpus_on(vectors: np.ndarray, device: torch.device) -> Tensor | np.ndarray:
    """A corpus as a search wants it: on a GPU that has room, since it is looked at more than once; else where it is.

    A search scales every row itself, so rows that would be scaled when they are read are given as they are stored.
    """
    stored = vectors.vectors if isinstance(vectors, UnitRows) else vectors
    if device.type != "cuda" or bytes_to_place([stored]) > CORPUS_SHARE * torch.cuda.mem_get_info(device)[0]:
        return stored
    return copied(stored, device)


def _ranking(hits: tuple[Tensor, Tensor]) -> Ranking:
    return Ranking(rows=hits[1].cpu().numpy(), scores=hits[0].cpu().numpy())


def _for_each(hits: Ranking, itself: np.ndarray) -> Ranking:
    """The hits `(1, K + 1)` of a vector that is every query's: each leaves out itself, or else the last."""
    left_out = hits.rows == itself[:, None]
    left_out[~left_out.any(axis=1), -1] = True
    places = np.nonzero(~left_out)[1].reshape(len(itself), -1)
    return Ranking(hits.rows[0][places], hits.scores[0][places])


def rerank(
    found: Mapping[RowName, Ranking], teacher_queries: np.ndarray, teacher_corpus: Tensor | np.ndarray,
    size: int, device: torch.device = CPU,
) -> dict[RowName, Ranking]:  # fmt: skip
    """The first `size` hits in the order of the teacher's own cosines: what a cascade returns.

    Args:
        found: row → ranking of a cheap model, of the same queries.
        teacher_queries: `(Q, teacher_dim)` float32, rows of length 1.
        teacher_corpus: `(C, teacher_dim)`, see `corpus_on`.
        size: N of cascade@N.
        device: where the cosines are computed.
    """
    candidates = np.concatenate([ranking.rows[:, :size] for ranking in found.values()], axis=1)
    unit = torch.from_numpy(np.asarray(teacher_queries)).to(device)
    # a corpus row that several rows of the table found is scored once
    once = np.sort(candidates, axis=1)
    once[:, 1:][once[:, 1:] == once[:, :-1]] = -1
    scored, rows = (part.cpu().numpy() for part in ordered(unit, teacher_corpus, torch.from_numpy(once).to(device)))
    query = np.arange(len(candidates))[:, None] * len(teacher_corpus)
    order = np.argsort((rows + query)[rows >= 0])
    place = np.searchsorted((rows + query)[rows >= 0][order], (candidates + query)[candidates >= 0])
    scores = np.full(candidates.shape, -np.inf, dtype=np.float32)
    scores[candidates >= 0] = scored[rows >= 0][order][place]
    reranked = {}
    for name, rows, cosines in zip(
        found, *(np.split(part, len(found), axis=1) for part in (candidates, scores)), strict=True
    ):
        order = np.lexsort((rows, -cosines), axis=1)
        reranked[name] = Ranking(np.take_along_axis(rows, order, axis=1), np.take_along_axis(cosines, order, axis=1))
    return reranked
