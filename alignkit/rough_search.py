"""What may be among the nearest neighbours of a query: a fast rough pass over a corpus of any size.

The rough pass is one matrix product in the fastest number format of the machine: int8 or bfloat16, which are several
times float32 where a CPU has units for them, and float16 on a GPU. How wrong a rough score can be is bounded from the
rounding that really took place (see `rounding`), and whatever is within that bound of the k-th best is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from alignkit.corpus_blocks import block_elements, unit_block
from alignkit.rounding import RoughVectors

# blocks of the corpus that are searched at once, since putting together what was found costs the same for any number
BLOCKS_AT_ONCE = 4
# fewer queries have little to put together, less than joining the blocks costs
FEW_QUERIES = 64
# with more candidates than this, as a multiple of k and a number, a query is looked at in a finer format
_MOST = (4, 64)
# below every score and above -inf, that of a row that must not be found or that is not there
_NOTHING = -4.0


@dataclass(frozen=True)
class Candidates:
    """Corpus rows that may be among the first of each query.

    Attributes:
        scores: `(Q, W)` rough cosines, -inf pads.
        rows: `(Q, W)`, -1 pads.
        slack: `(Q,)`, bound on the error of the scores.
        crowded: `(Q,)` bool: there were too many, and none is kept.
    """

    scores: Tensor
    rows: Tensor
    slack: Tensor
    crowded: Tensor


def candidates(unit: Tensor, corpus: Tensor | np.ndarray, k: int, excluded: Tensor, dtype: torch.dtype) -> Candidates:
    """All rows that may be among the first k.

    Args:
        unit: `(Q, D)` normalised.
        corpus: `(C, D)`, at least one row.
        k: at least 1.
        excluded: `(Q,)` row that a query must not find, -1 for none.
        dtype: of the rough pass.
    """
    slabs: list[_Slab] = []
    start = 0
    for part, mean in _rough_blocks(corpus, unit, dtype):
        if not slabs:
            rough = RoughVectors.of_queries(unit, mean, dtype)
            at_once = max(1, block_elements(unit.device) // len(part))
            slabs = [
                _Slab(rough[first : first + at_once], excluded[first : first + at_once], k)
                for first in range(0, len(unit), at_once)
            ]
        for slab in slabs:
            slab.search(part, start)
        start += len(part)
    width = max(slab.rows.shape[1] for slab in slabs)
    return Candidates(
        torch.cat([F.pad(slab.scores, (0, width - slab.rows.shape[1]), value=-torch.inf) for slab in slabs]),
        torch.cat([F.pad(slab.rows, (0, width - slab.rows.shape[1]), value=-1) for slab in slabs]),
        torch.cat([slab.slack for slab in slabs]),
        torch.cat([slab.crowded for slab in slabs]),
    )


def _rough_blocks(
    corpus: Tensor | np.ndarray, unit: Tensor, dtype: torch.dtype
) -> Iterator[tuple[RoughVectors, Tensor]]:
    """The corpus in the coarse format, block after block, and what was subtracted from all of it."""
    at_once = max(1, block_elements(unit.device) // max(unit.shape[1], 1))
    mean, parts = None, []
    together = BLOCKS_AT_ONCE if len(unit) > FEW_QUERIES else 1
    for start in range(0, len(corpus), at_once):
        block = unit_block(corpus, start, at_once, unit.device)
        mean = block.mean(dim=0) if mean is None else mean
        parts.append(RoughVectors.of_corpus(block, mean, dtype))
        if len(parts) == together or start + at_once >= len(corpus):
            yield RoughVectors.joined(parts), mean
            parts = []


class _Slab:
    """Some of the queries, and what they may find in the part of the corpus that they have seen."""

    def __init__(self, rough: RoughVectors, excluded: Tensor, k: int) -> None:
        self._rough, self._excluded, self._k = rough, excluded, k
        self.scores, self.rows = rough.length.new_empty(len(rough), 0), excluded.new_empty(len(rough), 0)
        self.slack, self.crowded = torch.zeros_like(rough.length), torch.zeros_like(excluded, dtype=torch.bool)

    def search(self, part: RoughVectors, start: int) -> None:
        """Look at the next rows of the corpus, the first of which is `start`."""
        if self.crowded.all():
            return
        scores = self._rough.scores(part)
        at = self._excluded - start
        inside = ((at >= 0) & (at < len(part))).nonzero().squeeze(1)
        scores[inside, at[inside]] = -torch.inf
        self.slack = torch.maximum(self.slack, self._rough.slack(part))
        better, columns = self._chosen(scores, self._least(scores if start == 0 else self.scores))
        together = torch.cat([self.scores, better], dim=1)
        rows = torch.cat([self.rows, torch.where(columns >= 0, columns + start, -1)], dim=1)
        self.scores, columns = self._chosen(together, self._least(together))
        self.rows = torch.where(columns >= 0, rows.gather(1, columns.clamp_min(0)), -1)

    def _least(self, scores: Tensor) -> Tensor:
        """`(Q, 1)`: what scores less than this cannot be among the first k, given these scores of others."""
        if scores.shape[1] < self._k:
            least = torch.full_like(self.slack, _NOTHING)
        else:
            least = (_kth_largest(scores, self._k) - 2 * self.slack).clamp_min_(_NOTHING)
        return least.masked_fill_(self.crowded, torch.inf).unsqueeze(1)

    def _chosen(self, scores: Tensor, least: Tensor) -> tuple[Tensor, Tensor]:
        """Of `(Q, B)` what scores at least `(Q, 1)`: scores and columns `(Q, W)`; notes crowds."""
        queries, columns = _positions(scores >= least)
        counts = torch.bincount(queries, minlength=len(scores))
        self.crowded |= counts > _MOST[0] * self._k + _MOST[1]
        if self.crowded.any():
            alone = ~self.crowded[queries]
            queries, columns, counts = queries[alone], columns[alone], counts.masked_fill(self.crowded, 0)
        place = torch.arange(len(queries), device=scores.device) - (counts.cumsum(0) - counts)[queries]
        shape = (len(scores), int(counts.max()))
        best, of_columns = scores.new_full(shape, -torch.inf), columns.new_full(shape, -1)
        best[queries, place], of_columns[queries, place] = scores[queries, columns], columns
        return best, of_columns


def _kth_largest(scores: Tensor, k: int) -> Tensor:
    """`(Q,)` of `(Q, >= k)`."""
    if scores.device.type != "cpu":
        return torch.topk(scores, k, dim=1).values[:, -1]
    # several times as fast as topk()
    at = scores.shape[1] - k
    return torch.from_numpy(np.partition(scores.numpy(), at, axis=1)[:, at].copy())


def _positions(chosen: Tensor) -> tuple[Tensor, Tensor]:
    if chosen.device.type != "cpu":
        queries, columns = chosen.nonzero(as_tuple=True)
        return queries, columns
    # several times as fast as nonzero()
    flat = torch.from_numpy(np.flatnonzero(chosen.numpy()))
    return flat // chosen.shape[1], flat % chosen.shape[1]
