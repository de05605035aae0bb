"""Arithmetic on vectors that every room needs: normalise, compare, find the nearest."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# float32 copies of a block of the corpus stay under this many numbers (256 MiB)
BLOCK_ELEMENTS = 64 * 1024 * 1024


def l2_normalize(vectors: Tensor, eps: float = 1e-12) -> Tensor:
    """Scale each row to length 1; a zero row stays zero.

    Args:
        vectors: `(..., D)`.
        eps: lengths below it are taken as `eps`.

    >>> l2_normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return F.normalize(vectors, dim=-1, eps=eps)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Cosine of each row of `first` with the same row of `second`, in [-1, 1]; 0 where either is a zero row.

    Args:
        first: `(..., D)`.
        second: `(..., D)`, broadcast against `first`.

    Returns:
        `(...)`, in the inputs' dtype.

    >>> cosine(torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([1., 0.])
    """
    return (l2_normalize(first) * l2_normalize(second)).sum(dim=-1).clamp(-1.0, 1.0)


def top_k(
    queries: Tensor | np.ndarray,
    corpus: Tensor | np.ndarray,
    k: int,
    *,
    exclude: Tensor | np.ndarray | None = None,
) -> tuple[Tensor, Tensor]:
    """Exact nearest corpus rows of each query by cosine, ties in order of the corpus row.

    Both sides are normalised here. The corpus may be a memory map: it is read once, a block at a time.

    Args:
        queries: `(Q, D)`, any float type.
        corpus: `(C, D)`, any float type.
        k: how many; where the corpus is smaller, the rest is filled with score -inf and row -1.
        exclude: `(Q,)` corpus row that a query must not find (itself), -1 for none.

    Returns:
        Scores `(Q, k)` float32, descending, and corpus rows `(Q, k)` int64.

    >>> top_k(torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]]), k=2)[1]
    tensor([[1, 0],
            [0, 2]])
    """
    queries = l2_normalize(torch.as_tensor(np.asarray(queries) if isinstance(queries, np.ndarray) else queries).float())
    count, rows = len(queries), len(corpus)
    best_scores = torch.full((count, k), -torch.inf, device=queries.device)
    best_rows = torch.full((count, k), -1, dtype=torch.int64, device=queries.device)
    excluded = None if exclude is None else torch.as_tensor(exclude, device=queries.device)
    block = max(1, BLOCK_ELEMENTS // max(queries.shape[1], count))
    for start in range(0, rows, block):
        part = torch.as_tensor(
            np.array(corpus[start : start + block]) if isinstance(corpus, np.ndarray) else corpus[start : start + block]
        )
        scores = queries @ l2_normalize(part.to(queries.device).float()).T
        if excluded is not None:
            here = (excluded >= start) & (excluded < start + len(part))
            scores[here, excluded[here] - start] = -torch.inf
        best_scores, best_rows = _merge(best_scores, best_rows, scores, start, k)
    return best_scores, best_rows


def _merge(best_scores: Tensor, best_rows: Tensor, scores: Tensor, start: int, k: int) -> tuple[Tensor, Tensor]:
    """Keep the k best of what was found and of one more block; earlier rows win ties."""
    # topk is not stable: take all that tie with the k-th, then order by (-score, row)
    kept = min(k, scores.shape[1])
    threshold = torch.topk(scores, kept, dim=1).values[:, -1:]
    ties = int((scores >= threshold).sum(dim=1).max())
    found = torch.topk(scores, ties, dim=1)
    rows = found.indices + start
    rows = torch.where(found.values == -torch.inf, -1, rows)
    all_scores = torch.cat([best_scores, found.values], dim=1)
    all_rows = torch.cat([best_rows, rows], dim=1)
    by_row = torch.argsort(torch.where(all_rows < 0, torch.iinfo(torch.int64).max, all_rows), dim=1)
    all_scores, all_rows = all_scores.gather(1, by_row), all_rows.gather(1, by_row)
    by_score = torch.argsort(all_scores, dim=1, descending=True, stable=True)[:, :k]
    return all_scores.gather(1, by_score), all_rows.gather(1, by_score)
