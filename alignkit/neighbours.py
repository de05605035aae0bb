"""Exact nearest neighbours, found by a fast rough pass and settled by exact ones.

The rough pass (`rough_search`) leaves some hundred rows for each query. These are scored in float32, and those nearer
to each other than rounding can tell in float64. The order is therefore the same whatever the rough pass computes in,
and equal corpus rows have equal scores.
"""

from __future__ import annotations

import functools
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.corpus_blocks import as_tensor, block_elements, pair_cosines, unit_block
from alignkit.rough_search import Candidates, candidates
from alignkit.rounding import cpu_multiplies_bfloat16, cpu_multiplies_int8, sum_slack

# below it a product is over before a faster format could pay
SMALL_PRODUCT = 10**9
# a coarse format leaves more hits to score again: it has to be well ahead
WORTH_ROUNDING = 2.0
# a score that may be further off than this is not shown to anyone
FINE = 1e-4


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
        dtype: of the rough pass, int8, bfloat16, float16 or float32; in float64 it settles all. `None` takes what is
            fastest here. The rows are the same.

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
    if dtype == torch.float64:
        return _top_k_float64(unit, corpus, k, excluded)
    near = candidates(unit, corpus, k, excluded, dtype)
    if dtype == torch.float32:
        return settle(unit, corpus, k, near, excluded, finer=torch.float64)
    # nobody is shown a score of vectors in a coarse format
    return settle(unit, corpus, k, rescored(unit, corpus, near), excluded, finer=torch.float32)


def ordered(unit: Tensor, corpus: Tensor | np.ndarray, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Chosen corpus rows of each query in the order of their cosines, ties in order of the row.

    Args:
        unit: `(Q, D)` normalised.
        corpus: `(C, D)`.
        rows: `(Q, W)`, -1 for none.

    Returns:
        As `top_k`, with k = W.
    """
    none = torch.zeros(len(rows), device=rows.device)
    near = Candidates(torch.full(rows.shape, -torch.inf, device=rows.device), rows, none, none.bool())
    return settle(unit, corpus, rows.shape[1], rescored(unit, corpus, near), none.long(), finer=torch.float64)


def rescored(unit: Tensor, corpus: Tensor | np.ndarray, near: Candidates) -> Candidates:
    """The same candidates with their cosines in float32."""
    queries, at = (near.rows >= 0).nonzero(as_tuple=True)
    scores = torch.full_like(near.scores, -torch.inf)
    scores[queries, at] = pair_cosines(unit, corpus, queries, near.rows[queries, at], torch.float32)
    # both kernels keep four sums or more side by side
    slack = torch.full_like(near.slack, sum_slack(unit.shape[1] // 4 + 4) + 2.0**-21)
    return Candidates(scores, near.rows, slack, near.crowded)


def settle(
    unit: Tensor, corpus: Tensor | np.ndarray, k: int, near: Candidates, excluded: Tensor, finer: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The exact first k of candidates whose scores are off by rounding alone.

    Hits further apart than twice the slack are in order already; those nearer are scored in float64.

    Args:
        unit: `(Q, D)` normalised.
        corpus: `(C, D)`.
        k: hits wanted.
        near: the first k are among them.
        excluded: `(Q,)` row that a query must not find, -1 for none.
        finer: in which queries are searched to which too much of the corpus is equally near.

    Returns:
        As `top_k`.
    """
    missing = (0, max(0, k - near.scores.shape[1]))
    scores, order = torch.sort(F.pad(near.scores, missing, value=-torch.inf), dim=1, descending=True)
    rows, slack = F.pad(near.rows, missing, value=-1).gather(1, order), near.slack.unsqueeze(1)
    possible = scores >= scores[:, k - 1 : k] - 2 * slack
    width = max(k, int(possible.sum(dim=1).max()))
    scores, rows = scores.masked_fill(~possible, -torch.inf)[:, :width], rows[:, :width]
    close = scores[:, :-1] - scores[:, 1:] <= 2 * slack  # inf - inf is NaN and not close
    flagged = F.pad(close, (1, 0)) | F.pad(close, (0, 1)) | ((slack > FINE) & ~torch.isneginf(scores))
    queries, at = flagged.nonzero(as_tuple=True)
    scores[queries, at] = pair_cosines(unit, corpus, queries, rows[queries, at], torch.float64)
    rows = rows.masked_fill(torch.isneginf(scores), -1)
    by_row = torch.argsort(rows, dim=1)
    order = by_row.gather(1, torch.argsort(scores.gather(1, by_row), dim=1, descending=True, stable=True))[:, :k]
    scores, rows = scores.gather(1, order), rows.gather(1, order)
    if near.crowded.any():
        again = top_k(unit[near.crowded], corpus, k, exclude=excluded[near.crowded], dtype=finer)
        scores[near.crowded], rows[near.crowded] = again
    return scores, rows


def _top_k_float64(unit: Tensor, corpus: Tensor | np.ndarray, k: int, exclude: Tensor) -> tuple[Tensor, Tensor]:
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
    """float32, or a coarse format if a product of the usual shape runs at least twice as fast in it on this device.

    That is int8 or else bfloat16 on a CPU, and float16 on a GPU.
    """
    coarse = [torch.float16]
    if device_type == "cpu":
        units = {torch.int8: cpu_multiplies_int8(), torch.bfloat16: cpu_multiplies_bfloat16()}
        coarse = [dtype for dtype, there in units.items() if there]
    if not coarse:
        return torch.float32
    times = dict.fromkeys((torch.float32, *coarse), float("inf"))
    # a GPU needs more work to show a difference, and on a CPU less of it saves half a second of every command
    rows = 1024 if device_type == "cpu" else 2048
    factors = {dtype: torch.ones(rows, 1024, device=device_type).to(dtype) for dtype in times}
    for _ in range(4):
        # in turns: what else the machine does at the moment slows both
        for dtype, factor in factors.items():
            times[dtype] = min(times[dtype], _seconds_of_product(factor))
    worth = (dtype for dtype in coarse if times[torch.float32] >= WORTH_ROUNDING * times[dtype])
    return next(worth, torch.float32)


def _seconds_of_product(factor: Tensor) -> float:
    started = time.perf_counter()
    product = torch._int_mm(factor, factor.T) if factor.dtype == torch.int8 else factor @ factor.T
    product.sum().item()  # .item() waits for a GPU
    return time.perf_counter() - started
