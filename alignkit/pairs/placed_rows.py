"""Vectors that lie on a device beside the file that they are from, so that no pass over them reads the file again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from alignkit.corpus_blocks import let_go, only_read
from alignkit.vector_files import MappedRows

# bytes that are read and copied at once
CHUNK_BYTES = 64 * 1024 * 1024


class PlacedRows(MappedRows):
    """Some rows of an array that was also copied to a device, as it is stored; behaves like an array of those rows.

    Args:
        array: `(N, D)`.
        rows: `(M,)` int64.
        copy: `(N, D)`, the whole array on the device, in its own float type.
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray, copy: Tensor) -> None:
        super().__init__(array, rows)
        self.copy = copy
        self._places = torch.from_numpy(rows).to(copy.device)

    @property
    def device(self) -> torch.device:
        """Where the copy lies."""
        return self.copy.device

    def take(self, rows: np.ndarray) -> PlacedRows:
        """Rows of these rows."""
        return PlacedRows(self.array, self.rows[rows], self.copy)

    def on_device(self, rows: slice | Tensor, device: torch.device) -> Tensor:
        """See `rows_on`."""
        places = self._places[rows if isinstance(rows, slice) else rows.to(self._places.device)]
        return self.copy[places].to(device, torch.float32)


class _OnDevice(Protocol):
    def on_device(self, rows: slice | Tensor, device: torch.device) -> Tensor: ...


def rows_on(vectors: np.ndarray | Tensor, rows: slice | np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Rows of vectors as a float32 tensor of its own memory on the device, whose copy is used where there is one.

    What is read is copied in its own float type and widened there: half the bytes to copy, and a device, or torch on a
    CPU, widens float16 many times as fast as NumPy.

    Args:
        vectors: `(N, D)` of any float type, an array, a tensor, a memory map or rows of one.
        rows: a slice, or `(M,)` int64 row numbers.
        device: where the rows are wanted.
    """
    if isinstance(vectors, Tensor):
        return vectors[rows].to(device, torch.float32, copy=True)
    if hasattr(vectors, "on_device"):
        wanted = torch.from_numpy(rows) if isinstance(rows, np.ndarray) else rows
        return cast(_OnDevice, vectors).on_device(wanted, device)
    return _read(vectors, rows.cpu().numpy() if isinstance(rows, Tensor) else rows).to(device).float()


def lies_on(vectors: np.ndarray, device: torch.device) -> bool:
    """Whether `rows_on` reads no file for these vectors."""
    return getattr(vectors, "device", None) == device


def place(parts: Sequence[np.ndarray], device: torch.device) -> list[np.ndarray]:
    """The same vectors with a copy on the device; parts of one array share its copy, which is read once and forward.

    Args:
        parts: each `(N, D)`.
        device: with room for all arrays that the parts are rows of.
    """
    copies: dict[int, Tensor] = {}
    placed: list[np.ndarray] = []
    for part in parts:
        if lies_on(part, device):
            placed.append(part)
            continue
        array, rows = (part.array, part.rows) if isinstance(part, MappedRows) else (part, np.arange(len(part)))
        if id(array) not in copies:
            copies[id(array)] = copied(array, device)
        placed.append(cast(np.ndarray, PlacedRows(array, rows, copies[id(array)])))
    return placed


def copied(array: np.ndarray, device: torch.device) -> Tensor:
    """All rows `(N, D)` on the device, in their own float type; read forward, once."""
    filled = torch.empty(array.shape, dtype=torch.from_numpy(np.empty(0, array.dtype)).dtype, device=device)
    step = max(1, CHUNK_BYTES // (array.shape[1] * array.dtype.itemsize))
    for start in range(0, len(array), step):
        filled[start : start + step] = only_read(array[start : start + step])
        let_go(array)
    return filled


def bytes_to_place(parts: Sequence[np.ndarray]) -> int:
    """Bytes that `place` takes on the device."""
    arrays = {id(array): array for array in (part.array if isinstance(part, MappedRows) else part for part in parts)}
    return sum(array.shape[0] * array.shape[1] * array.dtype.itemsize for array in arrays.values())


def _read(vectors: np.ndarray, rows: slice | np.ndarray) -> Tensor:
    """A tensor of its own memory, or one that is widened, which makes it so."""
    block = vectors[rows]
    # rows that a list of numbers picks are a copy already
    own = block.dtype != np.float32 or isinstance(vectors, MappedRows) or isinstance(rows, np.ndarray)
    return only_read(block) if own else torch.from_numpy(np.array(block))
