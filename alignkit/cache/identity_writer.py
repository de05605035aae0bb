"""Storing the vectors of one identity: shards are begun when needed, commits happen in groups beside the embedder."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.cache.headers import ShardHeader
from alignkit.cache.index import Index
from alignkit.cache.shard_writer import ShardWriter
from alignkit.errors import CacheError

log = logging.getLogger(__name__)

SHARD_BYTES = 1024 * 1024 * 1024
COMMIT_BYTES = 64 * 1024 * 1024
COMMIT_S = 0.5
CANARIES = 4
LONGEST_CANARY = 200
# float16 overflows beyond the one, and has few bits left below the other
FLOAT16_MAX = 65504.0
FLOAT16_PEAK_MIN = 1e-3


class IdentityWriter:
    """Appends vectors of one identity to shards that nobody else writes. Not safe for use by two threads at once.

    Args:
        folder: of the shards.
        index: of the cache.
        identity: whose vectors.
        provenance: for the headers of the shards.
        dtype: "float16" or "float32".
    """

    def __init__(
        self, folder: Path, index: Index, identity: Mapping[str, Any], provenance: Mapping[str, Any], dtype: str
    ) -> None:
        self._folder = folder
        self._index = index
        self._header = ShardHeader(dict(identity), 0, dtype, dict(provenance))
        self._dtype = dtype
        self._shard: ShardWriter | None = None
        self._shard_id = -1
        self._pending: list[tuple[int, np.ndarray]] = []
        self._pending_bytes = 0
        self._committed_at = time.monotonic()
        self._committer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache-commit")
        self._commit_under_way: tuple[Future[None], list[tuple[int, np.ndarray]]] | None = None

    def append(self, keys: np.ndarray, vectors: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Store rows; from here on a killed process does not lose them.

        Args:
            keys: `(n,)` of dtype `KEY`.
            vectors: `(n, dim)` float32, finite.
            texts: n texts, of which a new shard takes its canaries.

        Returns:
            The vectors as they are stored.

        Raises:
            CacheError: if the disk refuses.
        """
        if not len(keys):
            return vectors
        if self._dtype == "float16" and not fits_float16(vectors):
            log.warning(
                "vectors of %s leave the range of float16 (largest value %.3g); they are stored as float32",
                self._header.identity.get("model", "this model"),
                np.abs(vectors).max(),
            )
            self._dtype = "float32"
        stored = vectors.astype(self._dtype)
        shard = self._shard_for(stored, texts)
        start = shard.rows
        try:
            shard.append(keys, stored)
        except CacheError:
            self._begin_anew()
            raise
        self._pending.append((start, keys))
        self._pending_bytes += stored.nbytes
        if self._pending_bytes >= COMMIT_BYTES or time.monotonic() - self._committed_at >= COMMIT_S:
            self._begin_commit()
        return stored

    def _shard_for(self, stored: np.ndarray, texts: Sequence[str]) -> ShardWriter:
        shard = self._shard
        if shard is not None:
            header = shard.shard.header
            full = shard.rows * shard.shard.row_bytes >= SHARD_BYTES
            if header.dtype == stored.dtype.name and header.dim == stored.shape[1] and not full:
                return shard
            self.finish_shard()
        header = ShardHeader(
            identity=self._header.identity,
            dim=stored.shape[1],
            dtype=stored.dtype.name,
            provenance=self._header.provenance,
            canaries=_canaries(texts),
        )
        self._shard = ShardWriter(self._folder, header)
        self._shard_id = self._index.register(self._shard.shard.name, header.to_json())
        return self._shard

    def _begin_commit(self) -> None:
        self._wait()
        if self._shard is None or not self._pending:
            return
        pending = self._pending
        self._pending, self._pending_bytes = [], 0
        self._committed_at = time.monotonic()
        commit = self._committer.submit(self._commit, self._shard, self._shard_id, pending)
        self._commit_under_way = commit, pending

    def _commit(self, shard: ShardWriter, shard_id: int, pending: list[tuple[int, np.ndarray]]) -> None:
        shard.sync()
        rows = [np.arange(start, start + len(keys)) for start, keys in pending]
        taken_in = int(rows[-1][-1]) + 1
        self._index.add(shard_id, np.concatenate([keys for _, keys in pending]), np.concatenate(rows), taken_in)

    def _wait(self) -> None:
        under_way, self._commit_under_way = self._commit_under_way, None
        if under_way is None:
            return
        commit, rows = under_way
        try:
            commit.result()
        except BaseException:
            # with the next commit, or the index would pass over them for good
            self._pending = [*rows, *self._pending]
            raise

    def commit(self) -> None:
        """Return when every row is on disk and in the index.

        Raises:
            CacheError: if the disk refuses.
        """
        self._begin_commit()
        self._wait()

    def finish_shard(self) -> None:
        """Commit, and let the next row begin another shard."""
        try:
            self.commit()
        finally:
            if self._shard is not None:
                self._shard.close()
                self._shard = None
            # what could not be committed is in the shard and is taken in when the cache is opened next
            self._pending, self._pending_bytes = [], 0

    def _begin_anew(self) -> None:
        with suppress(CacheError):
            self.finish_shard()

    def pause(self) -> None:
        """Commit, and hold no file until the next row: others may delete the shard meanwhile.

        Raises:
            CacheError: if the disk refuses.
        """
        try:
            self.commit()
        finally:
            if self._shard is not None:
                self._shard.close()

    def resume(self) -> None:
        """Go on with the shard, or begin another if somebody deleted it since the last fill."""
        if self._shard is not None and not self._shard.is_whole():
            self._shard = None

    def close(self) -> None:
        """Commit and free everything; calling it twice does no harm."""
        try:
            self.finish_shard()
        finally:
            self._committer.shutdown()


def fits_float16(vectors: np.ndarray) -> bool:
    """Whether float16 keeps each row's direction: nothing overflows, no row vanishes into its smallest numbers."""
    peaks = np.maximum(vectors.max(axis=1), -vectors.min(axis=1))
    return bool((peaks <= FLOAT16_MAX).all() and ((peaks == 0) | (peaks >= FLOAT16_PEAK_MIN)).all())


def _canaries(texts: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted((text for text in texts if len(text) <= LONGEST_CANARY), key=len)[-CANARIES:])
