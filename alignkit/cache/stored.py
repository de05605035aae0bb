"""Vectors in shards, by their places: read into an array, or looked at as one without reading them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from alignkit.cache.index import ROW_BITS
from alignkit.cache.shards import Shard

READ_BYTES = 32 * 1024 * 1024


def by_shard(places: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Sort places `(N,)` by the shard they are in.

    Yields:
        the shard's id, rows in it ascending, and where in `places` they stand.

    >>> list(by_shard(np.array([(2 << 32) + 5, 7])))
    [(0, array([7]), array([1])), (2, array([5]), array([0]))]
    """
    if not len(places):
        return
    order = np.argsort(places)
    ids = places[order] >> ROW_BITS
    for here in np.split(order, np.flatnonzero(np.diff(ids)) + 1):
        yield int(places[here[0]] >> ROW_BITS), places[here] & ((1 << ROW_BITS) - 1), here


def read_places(shards: Mapping[int, Shard], places: np.ndarray, out: np.ndarray) -> None:
    """Write the vectors at places `(N,)` to `out` `(N, dim)`, of any float type."""
    for shard_id, rows, here in by_shard(places):
        shard = shards[shard_id]
        step = max(1, READ_BYTES // shard.row_bytes)
        for start in range(0, len(rows), step):
            out[here[start : start + step]] = shard.vectors(rows[start : start + step])


class StoredVectors:
    """Behaves as the array of the vectors at some places; rows are read from the shards when they are asked for.

    It needs no open cache, holds no file, and can be pickled.

    Args:
        shards: by id, those that the places are in.
        places: `(N,)` int64.
    """

    ndim = 2

    def __init__(self, shards: Mapping[int, Shard], places: np.ndarray) -> None:
        self._shards = {shard_id: shards[shard_id] for shard_id in np.unique(places >> ROW_BITS).tolist()}
        self._places = places
        headers = [shard.header for shard in self._shards.values()]
        self.shape = (len(places), headers[0].dim if headers else 0)
        self.dtype = max((np.dtype(header.dtype) for header in headers), default=np.dtype(np.float32))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, at: slice | np.ndarray | int) -> np.ndarray:
        places = self._places[at]
        rows = np.empty((np.size(places), self.shape[1]), dtype=self.dtype)
        read_places(self._shards, np.atleast_1d(places), rows)
        return rows if np.ndim(places) else rows[0]

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        return self[:].astype(dtype or self.dtype, copy=False)

    def damaged(self) -> int:
        """How many of the rows no longer agree with their checksums; reads all of them."""
        count = 0
        for shard_id, rows, _ in by_shard(self._places):
            shard = self._shards[shard_id]
            step = max(1, READ_BYTES // shard.row_bytes)
            for start in range(0, len(rows), step):
                _, _, intact = shard.checked(rows[start : start + step])
                count += int((~intact).sum())
        return count

    def take(self, rows: np.ndarray) -> StoredVectors:
        """Some of the rows `(M,)`, still unread."""
        return StoredVectors(self._shards, self._places[rows])

    def read_into(self, out: np.ndarray) -> None:
        """Write all rows to `out` `(N, dim)`, of any float type."""
        read_places(self._shards, self._places, out)
