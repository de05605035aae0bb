"""The open writers of a cache, one an identity."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from alignkit.cache.identity_writer import IdentityWriter
from alignkit.cache.keys import identity_digest
from alignkit.cache.store import ShardStore


class Writers:
    """Opens a writer when an identity's first vectors come, and keeps it for those that follow.

    Args:
        store: that they write to.
        dtype: of new vectors, "float16" or "float32".

    Attributes:
        lock: held while a writer is chosen and the model is compared with what is stored.
    """

    def __init__(self, store: ShardStore, dtype: str) -> None:
        self.lock = threading.RLock()
        self._store = store
        self._dtype = dtype
        self._open: dict[bytes, IdentityWriter] = {}

    def has(self, identity: Mapping[str, Any]) -> bool:
        """Whether vectors of an identity were written already."""
        return identity_digest(identity) in self._open

    def resume(self, identity: Mapping[str, Any], provenance: Mapping[str, Any]) -> IdentityWriter:
        """The writer of an identity, ready to go on; `provenance` is for the headers of one that is opened now."""
        digest = identity_digest(identity)
        with self.lock:
            if digest not in self._open:
                store = self._store
                self._open[digest] = IdentityWriter(store.shard_folder, store.index, identity, provenance, self._dtype)
            self._open[digest].resume()
            return self._open[digest]

    def finish(self) -> None:
        """Commit, and let every writer begin a new shard."""
        with self.lock:
            for writer in self._open.values():
                writer.finish_shard()

    def close(self) -> None:
        """Commit and free all files; calling it twice does no harm."""
        with self.lock:
            try:
                for writer in self._open.values():
                    writer.close()
            finally:
                self._open.clear()
