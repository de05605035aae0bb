"""A `.npy` in object storage, of which only the rows are read that are looked at."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

import numpy as np

from alignkit.object_storage.located import read_range, state_of

if TYPE_CHECKING:
    from alignkit.object_storage.located import Place

_HEADER_BYTES = 64 * 1024
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class RowsThere:
    """Rows by slices, each in one request.

    Args:
        place: of the file.

    Raises:
        ValueError: if it is no array that can be read by rows; the words are NumPy's.
        DataError: if the store refuses.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        stream = io.BytesIO(read_range(place, 0, _HEADER_BYTES))
        version = np.lib.format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"its format is version {version}")
        shape, self.by_columns, self.dtype = _HEADERS[version](stream)
        self.shape: tuple[int, ...] = shape
        self.ndim = len(shape)
        self._start = stream.tell()
        if self.dtype.hasobject:
            raise ValueError("Object arrays cannot be memory-mapped")
        if self._start + math.prod(shape) * self.dtype.itemsize > state_of(place)["size_bytes"]:
            raise ValueError("mmap length is greater than filesize")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: slice) -> np.ndarray:
        """`(n, D)`, read now."""
        start, stop, step = at.indices(len(self))
        width = self.shape[1] * self.dtype.itemsize
        if stop <= start:
            return np.empty((0, self.shape[1]), self.dtype)
        content = read_range(self.place, self._start + start * width, self._start + stop * width)
        return np.frombuffer(content, self.dtype).reshape(-1, self.shape[1])[::step]
