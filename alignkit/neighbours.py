"""Exact nearest neighbours, found by a fast rough pass and settled by an exact one.

The rough pass is one matrix product in the fastest number format of the machine (bfloat16 is several times float32
where a CPU has units for it, and float16 on a GPU). Both sides are centred first: generative models' vectors share a
large mean, which would eat most of bfloat16's eight bits. How wrong a rough score can be is bounded from the rounding
that really took place, and hits nearer to each other than that bound are scored again in float64. The order is
therefore the same in every format, and equal corpus rows have equal scores.
"""

from __future__ import annotations

import functools
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.corpus_blocks import as_tensor, block_elements, pair_cosines, unit_block
from alignkit.rounding import RoughVectors, cpu_multiplies_bfloat16

# below it a product is over before a faster format could pay
SMALL_PRODUCT = 10**9
# bfloat16 leaves many more hits to score again: it has to be well ahead
WORTH_ROUNDING = 2.0
# a score that may be further off than this is not shown to anyone
FINE = 1e-4
# how many more hits than k the rough pass keeps, as a share of k and a number
_MARGIN = {torch.float32: (0.25, 16), torch.bfloat16: (4.0, 64), torch.float16: (1.0, 32)}
# below every cosine and above -inf, the score of a row that must not be found or that is not there
_NOTHING = -4.0


def top_k(
    queries: Tensor | np.ndarray,
    corpus: Tensor | np.ndarray,
    k: int,
    *,
    exclude: Tensor | np.ndarray | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """Exact nearest corpus rows of each query by cosine, ties in order of the corpus row.

    Both sides are normalised here: a student's vectors and a head's outputs come in any length, and are not copied
    beforehand. The corpus may be a memory map: it is read forward, a block at a time.

    Args:
        queries: `(Q, D)`, any float type.
        corpus: `(C, D)`, any float type.
        k: how many; where the corpus is smaller, the rest is filled with score -inf and row -1.
        exclude: `(Q,)` corpus row that a query must not find (itself), -1 for none.
        dtype: of the rough pass, float32, bfloat16 or float16; `None` takes what is faster here. The rows are the same.

    Returns:
        Scores `(Q, k)` float32, descending, to float32's rounding; corpus rows `(Q, k)` int64.

    >>> top_k(torch.eye(2), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 2.0]]), k=2)[1]
    tensor([[1, 0],
            [0, 2]])
    """
    unit = F.normalize(as_tensor(queries).float(), dim=-1)
    excluded = torch.full((len(unit),), -1) if exclude is None else torch.as_tensor(exclude)
    excluded = excluded.to(unit.device)
    if k < 1 or len(unit) == 0 or len(corpus) == 0:
        return torch.full((len(unit), k), -torch.inf), torch.full((len(unit), k), -1)
    if dtype is None:
        small = len(unit) * len(corpus) * unit.shape[1] < SMALL_PRODUCT
        dtype = torch.float32 if small else fastest_dtype(unit.device.type)
    share, more = _MARGIN[dtype]
    scores, rows, slack = _rough_pass(unit, corpus, k + int(share * k) + more, excluded, dtype)
    return settle(unit, corpus, k, scores, rows, slack, excluded, rounded=dtype != torch.float32)


def settle(
    unit: Tensor, corpus: Tensor | np.ndarray, k: int, scores: Tensor, rows: Tensor, slack: Tensor, excluded: Tensor,
    rounded: bool = False,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The exact first k, from rough scores of more than k candidates.

    Hits further apart than twice the slack are in order already; those nearer, and all after a rough pass in a coarse
    format, are scored in float64. Where even the last candidate could still be among the first k (a corpus of near
    copies), the query is searched in float32, and where that is what was done already, in
    float64.

    Args:
        unit: `(Q, D)` normalised.
        corpus: `(C, D)`.
        k: hits wanted.
        scores: `(Q, K)` descending, every other corpus row of a query scores no more than its last; -inf is nothing.
        rows: `(Q, K)`.
        slack: `(Q,)`, bound on the error of `scores`.
        excluded: `(Q,)` row that a query must not find, -1 for none.
        rounded: whether the scores are of vectors in a coarse format, which nobody is shown.

    Returns:
        As `top_k`.
    """
    last = scores[:, min(k, scores.shape[1]) - 1] - 2 * slack
    crowded = torch.zeros_like(last, dtype=torch.bool)
    if scores.shape[1] < len(corpus):
        crowded = (scores[:, -1] >= last) & (scores[:, -1] > _NOTHING)
    scores = scores.masked_fill((scores < last.unsqueeze(1)) | crowded.unsqueeze(1), -torch.inf)
    close = scores[:, :-1] - scores[:, 1:] <= 2 * slack.unsqueeze(1)  # inf - inf is NaN and not close
    coarse = (slack > FINE).logical_or_(torch.tensor(rounded, device=slack.device)).unsqueeze(1)
    flagged = F.pad(close, (1, 0)) | F.pad(close, (0, 1)) | (coarse & ~torch.isneginf(scores))
    of_query, at = flagged.nonzero(as_tuple=True)
    scores[of_query, at] = pair_cosines(unit, corpus, of_query, rows[of_query, at])
    rows = rows.masked_fill(torch.isneginf(scores), -1)
    by_row = torch.argsort(rows, dim=1)
    order = by_row.gather(1, torch.argsort(scores.gather(1, by_row), dim=1, descending=True, stable=True))[:, :k]
    scores, rows = scores.gather(1, order), rows.gather(1, order)
    if scores.shape[1] < k:
        missing = (0, k - scores.shape[1])
        scores, rows = F.pad(scores, missing, value=-torch.inf), F.pad(rows, missing, value=-1)
    if crowded.any():
        search = functools.partial(top_k, dtype=torch.float32) if coarse.any() else _top_k_float64
        scores[crowded], rows[crowded] = search(unit[crowded], corpus, k, exclude=excluded[crowded])
    return scores, rows


def _rough_pass(
    unit: Tensor, corpus: Tensor | np.ndarray, keep: int, excluded: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """The `keep` best rough cosines of each query, descending, their rows, and how wrong they may be."""
    keep = min(keep, len(corpus))
    best = torch.full((len(unit), keep), -torch.inf, device=unit.device)
    best_rows = torch.full((len(unit), keep), -1, device=unit.device)
    slack = torch.zeros(len(unit), device=unit.device)
    rough: RoughVectors | None = None
    elements = block_elements(unit.device)
    at_once = max(keep, elements // max(unit.shape[1], 1))
    for start in range(0, len(corpus), at_once):
        part = unit_block(corpus, start, at_once, unit.device)
        if rough is None:
            # any shift is right; the first block's mean is near enough to the corpus's
            shift = part.mean(dim=0)
            rough = RoughVectors.of(unit, shift, dtype)
        rough_part = RoughVectors.of(part, shift, dtype)
        queries_at_once = max(1, elements // len(part))
        for first in range(0, len(unit), queries_at_once):
            here = slice(first, first + queries_at_once)
            own = rough[here]
            scores, offset = own.scores(rough_part), own.offset().unsqueeze(1)
            at = excluded[here] - start
            inside = ((at >= 0) & (at < len(part))).nonzero().squeeze(1)
            scores[inside, at[inside]] = -torch.inf
            if start == 0:  # it holds `keep` rows or more
                found, best_rows[here] = torch.topk(scores, keep, dim=1)
                best[here] = found + offset
            else:
                found, found_rows = _better(scores, best[here, -1:] - offset, keep)
                found, found_rows = found + offset, found_rows + start
                best[here], order = torch.topk(torch.cat([best[here], found], dim=1), keep, dim=1)
                best_rows[here] = torch.cat([best_rows[here], found_rows], dim=1).gather(1, order)
            slack[here] = torch.maximum(slack[here], own.slack(rough_part))
    return best, best_rows, slack


def _better(scores: Tensor, threshold: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """What of `(Q, B)` scores is above `(Q, 1)`, at most `keep` a query, padded with -inf: `(Q, W)` twice."""
    better = scores > threshold
    counts = better.sum(dim=1)
    widest = int(counts.max())
    if widest >= min(keep, scores.shape[1]):
        found, rows = torch.topk(scores, min(keep, scores.shape[1]), dim=1)
        return found, rows
    queries, rows = _positions(better)
    place = torch.arange(len(queries), device=scores.device) - (counts.cumsum(0) - counts)[queries]
    found = scores.new_full((len(scores), widest), -torch.inf)
    found_rows = rows.new_full((len(scores), widest), -1)
    found[queries, place], found_rows[queries, place] = scores[queries, rows], rows
    return found, found_rows


def _positions(chosen: Tensor) -> tuple[Tensor, Tensor]:
    if chosen.device.type != "cpu":
        queries, rows = chosen.nonzero(as_tuple=True)
        return queries, rows
    # several times as fast as nonzero()
    flat = torch.from_numpy(np.flatnonzero(chosen.numpy()))
    return flat // chosen.shape[1], flat % chosen.shape[1]


def _top_k_float64(unit: Tensor, corpus: Tensor | np.ndarray, k: int, *, exclude: Tensor) -> tuple[Tensor, Tensor]:
    """As `top_k`, all of it in float64: for queries to which too much of the corpus is equally near."""
    best = torch.full((len(unit), k), -torch.inf, device=unit.device)
    best_rows = torch.full((len(unit), k), -1, device=unit.device)
    at_once = max(1, block_elements(unit.device) // (2 * unit.shape[1]))
    for start in range(0, len(corpus), at_once):
        part = unit_block(corpus, start, at_once, unit.device).double()
        for first in range(0, len(unit), at_once):
            here = slice(first, first + at_once)
            scores = (unit[here].double() @ part.T).float()
            at = exclude[here] - start
            inside = ((at >= 0) & (at < len(part))).nonzero().squeeze(1)
            scores[inside, at[inside]] = -torch.inf
            # columns are in order of the row within equal scores already, so a stable sort is all
            rows = torch.arange(start, start + len(part), device=unit.device).expand_as(scores)
            together = torch.cat([best[here], scores], dim=1)
            best[here], order = (one[:, :k] for one in torch.sort(together, dim=1, descending=True, stable=True))
            best_rows[here] = torch.cat([best_rows[here], rows], dim=1).gather(1, order)
    return best, best_rows.masked_fill(torch.isneginf(best), -1)


@functools.cache
def fastest_dtype(device_type: str) -> torch.dtype:
    """float32, or the coarse format if a product of the usual shape runs at least twice as fast in it on this device.

    That is bfloat16 on a CPU and float16 on a GPU, as fast there and eight times as fine.
    """
    if device_type == "cpu" and not cpu_multiplies_bfloat16():
        return torch.float32
    coarse = torch.bfloat16 if device_type == "cpu" else torch.float16
    times = {torch.float32: float("inf"), coarse: float("inf")}
    # a GPU needs more work to show a difference, and on a CPU less of it saves half a second of every command
    rows = 1024 if device_type == "cpu" else 2048
    factors = {dtype: torch.ones(rows, 1024, device=device_type).to(dtype) for dtype in times}
    for _ in range(4):
        # in turns: what else the machine does at the moment slows both
        for dtype, factor in factors.items():
            times[dtype] = min(times[dtype], _seconds_of_product(factor))
    return coarse if times[torch.float32] >= WORTH_ROUNDING * times[coarse] else torch.float32


def _seconds_of_product(factor: Tensor) -> float:
    started = time.perf_counter()
    (factor @ factor.T).sum().item()  # .item() waits for a GPU
    return time.perf_counter() - started
