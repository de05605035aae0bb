"""A corpus a block at a time: its rows normalised, and the exact cosines of chosen pairs of a query and a row."""

from __future__ import annotations

import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# numbers in one block of the corpus, and in one block of rough scores (float32: 64 MiB each)
BLOCK_ELEMENTS = 16 * 1024 * 1024
# numbers that are gathered at once where single products are wanted
SAMPLED_ELEMENTS = 2 * 1024 * 1024


def as_tensor(vectors: Tensor | np.ndarray) -> Tensor:
    """A tensor of its own memory: torch warns about read-only arrays, and a block of a memory map is read anyway."""
    return vectors if isinstance(vectors, Tensor) else torch.from_numpy(np.array(vectors))


def pair_cosines(unit: Tensor, corpus: Tensor | np.ndarray, queries: Tensor, rows: Tensor) -> Tensor:
    """Cosines of chosen queries and corpus rows, summed in float64 and rounded once to float32.

    Args:
        unit: `(Q, D)` normalised.
        corpus: `(C, D)`, not normalised.
        queries: `(M,)` rows of `unit`, ascending.
        rows: `(M,)` rows of `corpus`.

    Returns:
        `(M,)` float32.
    """
    cosines = torch.empty(len(queries), device=unit.device)
    at_once = max(1, BLOCK_ELEMENTS // max(unit.shape[1], 1))
    for first in range(0, len(unit), 2 * at_once):
        asking = unit[first : first + 2 * at_once].double()
        asked = slice(*torch.searchsorted(queries, torch.tensor([first, first + len(asking)]).to(queries)).tolist())
        for start in range(0, len(corpus), at_once):
            here = asked.start + ((rows[asked] >= start) & (rows[asked] < start + at_once)).nonzero().squeeze(1)
            if len(here):
                part = unit_block(corpus, start, at_once, unit.device).double()
                cosines[here] = _sampled_product(asking, part, queries[here] - first, rows[here] - start).float()
    return cosines


def unit_block(corpus: Tensor | np.ndarray, start: int, count: int, device: torch.device) -> Tensor:
    """Normalised rows of a corpus, `(<= count, D)` float32."""
    return F.normalize(as_tensor(corpus[start : start + count]).to(device).float(), dim=-1)


def _sampled_product(first: Tensor, second: Tensor, first_rows: Tensor, second_rows: Tensor) -> Tensor:
    """Entries `(M,)` of `first @ second.T`, `first_rows` ascending."""
    if first.device.type != "cpu" or not torch.backends.mkl.is_available():
        return _gathered_product(first, second, first_rows, second_rows)
    # torch has this kernel on a CPU where it has MKL; nothing is gathered, which makes it twenty times as fast
    ends = F.pad(torch.bincount(first_rows, minlength=len(first)).cumsum(0), (1, 0))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
        wanted = torch.sparse_csr_tensor(
            ends, second_rows, first.new_zeros(len(first_rows)), (len(first), len(second)), check_invariants=False
        )
        return torch.sparse.sampled_addmm(wanted, first, second.T, beta=0.0).values()


def _gathered_product(first: Tensor, second: Tensor, first_rows: Tensor, second_rows: Tensor) -> Tensor:
    """As `_sampled_product`, a bounded number of them at a time."""
    products = first.new_empty(len(first_rows))
    at_once = max(1, SAMPLED_ELEMENTS // first.shape[1])
    for start in range(0, len(first_rows), at_once):
        here = slice(start, start + at_once)
        products[here] = first[first_rows[here]].mul_(second[second_rows[here]]).sum(dim=1)
    return products
