"""Exact search in an index of codes, with the best hits ordered once more by float queries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignkit.codes.kinds import Code, FloatCode
from alignkit.vectors import top_k

# hits that are rescored for each that is wanted; sentence-transformers' and Cohere's examples take as many
RESCORED = 4
# numbers in one block of scores, and in one block of gathered vectors
BLOCK_ELEMENTS = 8 * 1024 * 1024
# so many products of two bytes add up exactly in float32
EXACT_DIMS = 1024


def search_codes(
    queries: np.ndarray, corpus: np.ndarray, code: Code, k: int, *, exclude: np.ndarray | None = None
) -> np.ndarray:
    """What an index of these codes finds for queries that are encoded likewise.

    Args:
        queries: `(Q, D)` float32 of length 1.
        corpus: `(C, D)` float32 of length 1, an array or a memory map; encoded a block at a time.
        code: of both sides.
        k: hits a query.
        exclude: `(Q,)` corpus row that a query must not find, -1 for none.

    Returns:
        `(Q, k)` int64 corpus rows, the best first, ties in order of the row; -1 pads.
    """
    if isinstance(code, FloatCode):
        encoded: Any = _Encoded(code, corpus)  # it is sliced and nothing else
        return top_k(code.encode(queries), encoded, k, exclude=exclude)[1].numpy()
    asked = torch.from_numpy(code.scanned(code.encode(queries)))
    excluded = torch.full((len(queries),), -1) if exclude is None else torch.from_numpy(np.asarray(exclude))
    best = torch.full((len(queries), k), _NOTHING)
    for start, block in _blocks(corpus, max(1, BLOCK_ELEMENTS // max(1, len(queries)))):
        scores = _products(asked, torch.from_numpy(code.scanned(code.encode(block))))
        rows = torch.arange(start, start + len(block))
        # scores of codes are whole numbers with many ties: the row settles them, the lower first
        keys = scores * len(corpus) + (len(corpus) - 1 - rows)
        keys.masked_fill_(excluded[:, None] == rows, _NOTHING)
        together = torch.cat([best, keys], dim=1)
        best = together.topk(k, dim=1).values
    found = len(corpus) - 1 - best.remainder(len(corpus))
    return found.masked_fill(best == _NOTHING, -1).numpy()


def rescore(queries: np.ndarray, corpus: np.ndarray, code: Code, found: np.ndarray, k: int) -> np.ndarray:
    """The best k of some hits by inner products of float queries with decoded texts.

    Args:
        queries: `(Q, D)` float32 of length 1.
        corpus: `(C, D)`, as `search_codes` takes it.
        code: what is kept of the texts to rescore by.
        found: `(Q, K)` corpus rows, -1 for none.
        k: hits to keep.

    Returns:
        `(Q, k)` corpus rows, the best first, ties in order of the row; -1 pads.
    """
    asked = queries[:, : code.dims]
    scores = np.full(found.shape, -np.inf, dtype=np.float32)
    step = max(1, BLOCK_ELEMENTS // max(1, found.shape[1] * code.dims))
    for start in range(0, len(found), step):
        part = slice(start, start + step)
        rows, place = np.unique(np.maximum(found[part], 0), return_inverse=True)
        texts = code.decode(code.encode(np.asarray(corpus[rows], dtype=np.float32)))
        texts = texts[place.reshape(found[part].shape)]
        scores[part] = np.einsum("qd,qkd->qk", asked[part], texts)
    scores[found < 0] = -np.inf
    order = np.lexsort((found, -scores), axis=1)[:, :k]
    return np.take_along_axis(found, order, axis=1)


_NOTHING = torch.iinfo(torch.int64).min


def _products(queries: Tensor, texts: Tensor) -> Tensor:
    """`(Q, B)` int64, exact for whole numbers of a byte."""
    total = torch.zeros(len(queries), len(texts), dtype=torch.int64)
    for start in range(0, queries.shape[1], EXACT_DIMS):
        part = slice(start, start + EXACT_DIMS)
        total += (queries[:, part] @ texts[:, part].T).long()
    return total


def _blocks(corpus: np.ndarray, rows: int) -> Iterator[tuple[int, np.ndarray]]:
    for start in range(0, len(corpus), rows):
        yield start, np.asarray(corpus[start : start + rows], dtype=np.float32)


class _Encoded:
    """A corpus as its codes, a block at a time."""

    def __init__(self, code: FloatCode, corpus: np.ndarray) -> None:
        self.code, self.corpus = code, corpus

    def __len__(self) -> int:
        return len(self.corpus)

    def __getitem__(self, rows: slice) -> np.ndarray:
        return self.code.scanned(self.code.encode(np.asarray(self.corpus[rows], dtype=np.float32)))
