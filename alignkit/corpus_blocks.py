"""A corpus a block at a time: its rows normalised, and the exact cosines of chosen pairs of a query and a row."""

from __future__ import annotations

import mmap
import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# numbers in one block of the corpus, and in one block of rough scores (float32: 16 MiB each); what fits into a CPU's
# cache is searched in two thirds of the time of blocks of 64 MiB
BLOCK_ELEMENTS = 4 * 1024 * 1024
# the same on a GPU, which small blocks leave idle, and the share of its free memory that one block may take
GPU_BLOCK_ELEMENTS, GPU_BLOCK_SHARE = 128 * 1024 * 1024, 1 / 64
# numbers that are gathered at once where single products are wanted
SAMPLED_ELEMENTS = 2 * 1024 * 1024


def block_elements(device: torch.device) -> int:
    """How many float32 numbers make a block on this device."""
    if device.type != "cuda":
        return BLOCK_ELEMENTS
    free = int(torch.cuda.mem_get_info(device)[0] * GPU_BLOCK_SHARE / 4)
    return min(GPU_BLOCK_ELEMENTS, max(BLOCK_ELEMENTS, free))


def as_tensor(vectors: Tensor | np.ndarray) -> Tensor:
    """A tensor of its own memory: torch warns about read-only arrays, and a block of a memory map is read anyway."""
    return vectors if isinstance(vectors, Tensor) else torch.from_numpy(np.array(vectors))


def only_read(vectors: np.ndarray) -> Tensor:
    """A tensor of the array's own memory, which may be a read-only map: nobody may write to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(np.asarray(vectors))


def pair_cosines(
    unit: Tensor, corpus: Tensor | np.ndarray, queries: Tensor, rows: Tensor, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Cosines of chosen queries and corpus rows.

    Args:
        unit: `(Q, D)` normalised.
        corpus: `(C, D)`, not normalised.
        queries: `(M,)` rows of `unit`, ascending.
        rows: `(M,)` rows of `corpus`.
        dtype: float64, whose sums are rounded once, or float32, several times as fast.

    Returns:
        `(M,)` float32.
    """
    cosines = torch.empty(len(queries), device=unit.device)
    on_cpu = unit.device.type == "cpu"
    at_once = max(1, block_elements(unit.device) // max(unit.shape[1], 1))
    # a GPU holds all queries and widens what it gathers; a CPU widens a block of them
    asked_at_once = 4 * at_once if on_cpu and dtype == torch.float64 else len(unit)
    for first in range(0, len(unit), asked_at_once):
        asking = unit[first : first + asked_at_once]
        asking = asking.to(dtype) if on_cpu else asking
        asked = slice(*torch.searchsorted(queries, torch.tensor([first, first + len(asking)]).to(queries)).tolist())
        for start in range(0, len(corpus), at_once):
            here = asked.start + ((rows[asked] >= start) & (rows[asked] < start + at_once)).nonzero().squeeze(1)
            if len(here):
                part = unit_block(corpus, start, at_once, unit.device)
                part = part.to(dtype) if on_cpu else part
                cosines[here] = _sampled_product(asking, part, queries[here] - first, rows[here] - start, dtype).float()
    return cosines


def unit_block(corpus: Tensor | np.ndarray, start: int, count: int, device: torch.device) -> Tensor:
    """Normalised rows of a corpus, `(<= count, D)` float32."""
    block = F.normalize(as_tensor(corpus[start : start + count]).to(device).float(), dim=-1)
    let_go(corpus)
    return block


def let_go(vectors: Tensor | np.ndarray) -> None:
    """Take what was read of a memory map out of this process; the system keeps it as long as nobody needs the room."""
    mapped: Any = getattr(vectors, "_mmap", None)
    if isinstance(vectors, np.memmap) and vectors.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def _sampled_product(
    first: Tensor, second: Tensor, first_rows: Tensor, second_rows: Tensor, dtype: torch.dtype
) -> Tensor:
    """Entries `(M,)` of `first @ second.T`, `first_rows` ascending."""
    if first.device.type != "cpu" or not torch.backends.mkl.is_available():
        return _gathered_product(first, second, first_rows, second_rows, dtype)
    # torch has this kernel on a CPU where it has MKL; nothing is gathered, which makes it twenty times as fast
    ends = F.pad(torch.bincount(first_rows, minlength=len(first)).cumsum(0), (1, 0))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
        wanted = torch.sparse_csr_tensor(
            ends, second_rows, first.new_zeros(len(first_rows)), (len(first), len(second)), check_invariants=False
        )
        return torch.sparse.sampled_addmm(wanted, first, second.T, beta=0.0).values()


def _gathered_product(
    first: Tensor, second: Tensor, first_rows: Tensor, second_rows: Tensor, dtype: torch.dtype
) -> Tensor:
    """As `_sampled_product`, a bounded number of them at a time."""
    products = first.new_empty(len(first_rows), dtype=dtype)
    at_once = max(1, max(SAMPLED_ELEMENTS, block_elements(first.device) // 8) // first.shape[1])
    for start in range(0, len(first_rows), at_once):
        here = slice(start, start + at_once)
        products[here] = first[first_rows[here]].to(dtype).mul_(second[second_rows[here]]).sum(dim=1)
    return products
