"""Exact nearest neighbours, found by a fast rough pass and settled by a slow exact one.

The rough pass is one matrix product in the fastest number format of the machine (bfloat16 is several times float32
where the chip has it). Both sides are centred first: generative models' vectors share a large mean, which would eat
most of bfloat16's eight bits. How wrong a rough score can be is bounded from the rounding that really took place, and
every corpus row that could still be among the first k is scored again in float64. The result is therefore the same in
every format, and equal corpus rows have equal scores.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# numbers in one block of the corpus, and in one block of rough scores (float32: 64 MiB each)
BLOCK_ELEMENTS = 16 * 1024 * 1024
# below it a product is over before a faster format could pay
SMALL_PRODUCT = 10**9
_GATHERED_ELEMENTS = 2 * 1024 * 1024
_UNIT_ROUNDOFF = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}


def top_k(
    queries: Tensor | np.ndarray,
    corpus: Tensor | np.ndarray,
    k: int,
    *,
    exclude: Tensor | np.ndarray | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Exact nearest corpus rows of each query by cosine, ties in order of the corpus row.

    Both sides are normalised here. The corpus may be a memory map: it is read once, a block at a time.

    Args:
        queries: `(Q, D)`, any float type.
        corpus: `(C, D)`, any float type.
        k: how many; where the corpus is smaller, the rest is filled with score -inf and row -1.
        exclude: `(Q,)` corpus row that a query must not find (itself), -1 for none.
        dtype: of the rough pass, float32 or bfloat16; `None` takes what is faster here. The result is the same.

    Returns:
        Scores `(Q, k)` float32, descending, and corpus rows `(Q, k)` int64.

    >>> top_k(torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]]), k=2)[1]
    tensor([[1, 0],
            [0, 2]])
    """
    unit = F.normalize(_tensor(queries).float(), dim=-1)
    count, width = unit.shape
    if dtype is None:
        small = count * len(corpus) * width < SMALL_PRODUCT
        dtype = torch.float32 if small else fastest_dtype(unit.device.type)
    excluded = None if exclude is None else torch.as_tensor(exclude, device=unit.device)
    best_scores = torch.full((count, k), -torch.inf, device=unit.device)
    best_rows = torch.full((count, k), -1, dtype=torch.int64, device=unit.device)
    rough: _Rough | None = None
    rows_at_once = max(k, BLOCK_ELEMENTS // max(width, 1))
    for start in range(0, len(corpus), rows_at_once):
        part = F.normalize(_tensor(corpus[start : start + rows_at_once]).to(unit.device).float(), dim=-1)
        if rough is None:
            # any shift is right; the first block's mean is near enough to the corpus's
            shift = part.mean(dim=0)
            rough = _Rough.of(unit, shift, dtype)
        rough_part = _Rough.of(part, shift, dtype)
        queries_at_once = max(1, BLOCK_ELEMENTS // len(part))
        for first in range(0, count, queries_at_once):
            here = slice(first, first + queries_at_once)
            scores, slack = rough[here].scores(rough_part), rough[here].slack(rough_part)
            if excluded is not None:
                at = excluded[here] - start
                inside = ((at >= 0) & (at < len(part))).nonzero().squeeze(1)
                scores[inside, at[inside]] = -torch.inf
            chosen = _candidates(scores, slack, best_scores[here, -1] - rough[here].offset(), k)
            exact = _exact_scores(unit[here], part, *chosen)
            best_scores[here], best_rows[here] = _merge(
                best_scores[here], best_rows[here], exact, chosen[0], chosen[1] + start
            )
    return best_scores, best_rows


def _tensor(vectors: Tensor | np.ndarray) -> Tensor:
    # a copy: torch warns about read-only memory, and a block of a memory map has to be read anyway
    return vectors if isinstance(vectors, Tensor) else torch.from_numpy(np.array(vectors))


@dataclass(frozen=True)
class _Rough:
    """Centred vectors in the format of the rough pass, with what was lost.

    With the shift m, q.c = (q - m).(c - m) + c.m + (q.m - m.m). The rough score is the first two terms; the third
    belongs to the query and orders nothing, it is needed only to compare with exact scores.

    Attributes:
        vectors: `(N, D)`, bfloat16 or float32: v - m.
        along_shift: `(N,)` float32: v.m.
        length: `(N,)` of v - m.
        lost: `(N,)` length of what rounding took off each v - m.
        shift_square: m.m.
    """

    vectors: Tensor
    along_shift: Tensor
    length: Tensor
    lost: Tensor
    shift_square: float

    @classmethod
    def of(cls, unit: Tensor, shift: Tensor, dtype: torch.dtype) -> _Rough:
        # float64, because this term is large where the vectors share a mean
        along_shift = (unit * shift).sum(dim=1, dtype=torch.float64).float()
        centered = unit - shift
        length = torch.linalg.vector_norm(centered, dim=1)
        vectors, lost = centered.to(dtype), torch.zeros_like(length)
        if dtype != torch.float32:
            lost = torch.linalg.vector_norm(centered.sub_(vectors), dim=1)
        return cls(vectors, along_shift, length, lost, float(shift.double().square().sum()))

    def __getitem__(self, rows: slice) -> _Rough:
        return _Rough(self.vectors[rows], self.along_shift[rows], self.length[rows], self.lost[rows], self.shift_square)

    def scores(self, corpus: _Rough) -> Tensor:
        """Rough scores `(Q, B)` float32."""
        return (self.vectors @ corpus.vectors.T).float().add_(corpus.along_shift)

    def offset(self) -> Tensor:
        """`(Q,)`: what a rough score lacks to be a cosine."""
        return self.along_shift - self.shift_square

    def slack(self, corpus: _Rough) -> Tensor:
        """`(Q,)`: no rough score plus offset is further than this from the exact cosine.

        In this order: what rounding took off the vectors, |(q - q~).c| + |q~.(c - c~)|; one rounding of the product to
        the format; D roundings of a float32 sum in any order (Higham, Accuracy and Stability of Numerical Algorithms,
        section 3.1); 2^-21 for what is rounded to float32 once (the shift taken off, the terms with it, the exact
        score). The factor pays for the lengths being rounded themselves.
        """
        length, lost = float(corpus.length.max()), float(corpus.lost.max())
        reach = self.length + self.lost
        vectors = self.lost * length + reach * lost
        stored = _UNIT_ROUNDOFF[self.vectors.dtype] * reach * (length + lost)
        summed = self.vectors.shape[1] * _UNIT_ROUNDOFF[torch.float32] * reach * (length + lost)
        return (vectors + stored + summed + 2.0**-21) * 1.001


def _candidates(scores: Tensor, slack: Tensor, kth_best: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Query and row of everything that could still be among the first k, ordered by query, then by row.

    Args:
        scores: `(Q, B)` rough, -inf for what must not be found.
        slack: `(Q,)`, bound on their error.
        kth_best: `(Q,)` k-th best exact score of the blocks before, on the scale of `scores`; -inf if there is none.
        k: hits wanted.
    """
    chosen = _at_least(scores, kth_best - slack)
    if torch.isneginf(kth_best).any() or int(chosen.sum()) > 4 * k * len(scores):
        # this block's own k-th tells more than the blocks before
        kth = torch.topk(scores, min(k, scores.shape[1]), dim=1).values[:, -1]
        enough = scores.shape[1] >= k
        own = kth - slack if enough else torch.full_like(kth, -torch.inf)
        chosen = _at_least(scores, torch.maximum(kth_best, own) - slack)
    found = np.flatnonzero(chosen.cpu().numpy()) if scores.device.type == "cpu" else chosen.flatten().nonzero()
    flat = torch.as_tensor(found, device=scores.device).flatten()
    return flat // scores.shape[1], flat % scores.shape[1]


def _at_least(scores: Tensor, threshold: Tensor) -> Tensor:
    # no score is below -4: what lies there is the -inf of an excluded row
    return scores >= threshold.clamp_min(-4.0).unsqueeze(1)


def _exact_scores(unit: Tensor, part: Tensor, queries: Tensor, rows: Tensor) -> Tensor:
    """Cosines of the candidates, summed in float64 and rounded once to float32: `(M,)`."""
    if len(queries) * 16 > len(unit) * len(part):
        # nearly everything ties (a collapsed model): one whole product is cheaper than gathering
        return (unit.double() @ part.double().T)[queries, rows].float()
    scores = torch.empty(len(queries), device=unit.device)
    at_once = max(1, _GATHERED_ELEMENTS // unit.shape[1])
    for start in range(0, len(queries), at_once):
        here = slice(start, start + at_once)
        products = unit[queries[here]].double().mul_(part[rows[here]])
        scores[here] = products.sum(dim=1)
    return scores


def _merge(
    best_scores: Tensor, best_rows: Tensor, scores: Tensor, queries: Tensor, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """Keep the k best of what was found and of one more block's candidates; earlier rows win ties."""
    count, k = best_scores.shape
    found = torch.bincount(queries, minlength=count)
    place = torch.arange(len(queries), device=queries.device) - (found.cumsum(0) - found)[queries]
    widest = int(found.max()) if len(queries) else 0
    all_scores = torch.cat([best_scores, best_scores.new_full((count, widest), -torch.inf)], dim=1)
    all_rows = torch.cat([best_rows, best_rows.new_full((count, widest), -1)], dim=1)
    all_scores[queries, k + place] = scores
    all_rows[queries, k + place] = rows
    # columns are in order of the row within equal scores already, so a stable sort is all
    order = torch.argsort(all_scores, dim=1, descending=True, stable=True)[:, :k]
    return all_scores.gather(1, order), all_rows.gather(1, order)


@functools.cache
def fastest_dtype(device_type: str) -> torch.dtype:
    """float32 or bfloat16: in which of them a small product runs faster on this device."""
    if device_type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.float32
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        factor = torch.ones(1024, 1024, device=device_type).to(dtype)
        times[dtype] = min(_seconds_of_product(factor) for _ in range(3))
    return min(times, key=lambda dtype: times[dtype])


def _seconds_of_product(factor: Tensor) -> float:
    started = time.perf_counter()
    (factor @ factor.T).sum().item()  # .item() waits for a GPU
    return time.perf_counter() - started
