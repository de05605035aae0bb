"""The cache itself: which texts have a vector, the vectors, and what is remembered of the models behind them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.cache import filling, forgetting, merging, pruning, quarantine, verifying
from alignkit.cache.keys import identity_digest, text_keys
from alignkit.cache.shards import Shard
from alignkit.cache.store import ShardStore
from alignkit.cache.stored import StoredVectors
from alignkit.cache.writing import IdentityWriter
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import CacheError, ConfigError, EmbedderError

log = logging.getLogger(__name__)

DTYPES = ("float16", "float32")


@dataclass(frozen=True)
class RememberedIdentity:
    """One model, for one role, as the cache knows it.

    Attributes:
        rows: texts that have a vector.
        bytes: on disk.
        quarantined: texts that the model could not embed.
        provenance: of the newest shard.
        first_written: UTC, ISO 8601; `last_written` likewise: when the oldest and the newest shard were begun.
    """

    identity: dict[str, Any]
    dim: int
    rows: int
    bytes: int
    shards: int
    quarantined: int
    provenance: dict[str, Any]
    first_written: str
    last_written: str


class VectorCache:
    """Vectors on disk, keyed by identity and text; several models in one folder, several processes at once.

    Args:
        folder: made if it is not there, unless `create` is False. One that cannot be written can still be read.
        dtype: of new vectors, "float16" or "float32". Vectors that float16 cannot hold are stored as float32.
        create: False for who wants no cache where none is.
        only_read: leave everything on the disk as it is.

    Raises:
        CacheError: if the folder cannot be opened.
    """

    def __init__(
        self, folder: str | Path, dtype: str = "float16", create: bool = True, only_read: bool = False
    ) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"the cache stores {' or '.join(DTYPES)}, got dtype={dtype}")
        self.folder = Path(folder).expanduser()
        self.dtype = dtype
        self.store = ShardStore(self.folder, create and not only_read, only_read)
        self.lock = threading.RLock()
        self.writers: dict[bytes, IdentityWriter] = {}

    def missing(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Positions of the texts that have no vector, ascending int64."""
        return np.flatnonzero(self.store.locate(text_keys(identity_digest(identity), texts)) < 0)

    def gather(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, in their order: `(N, dim)` float32.

        Raises:
            CacheError: if some have none; it counts them.
        """
        vectors = self.vectors_of(identity, texts)
        out = np.empty(vectors.shape, dtype=np.float32)
        vectors.read_into(out)
        return out

    def vectors_of(self, identity: Mapping[str, Any], texts: Sequence[str]) -> StoredVectors:
        """Vectors of texts as an array that is read only where it is looked at, in the type they are stored in.

        Raises:
            CacheError: if some have none; it counts them.
        """
        places = self.store.locate(text_keys(identity_digest(identity), texts))
        lacking = int((places < 0).sum())
        if lacking:
            raise CacheError(
                f"{lacking} of {len(texts)} texts have no vector of {identity.get('model', 'this model')} "
                f"in {self.folder}; embed them with python -m alignkit.embed"
            )
        return self.store.vectors_at(places)

    def quarantined(self, identity: Mapping[str, Any], texts: Sequence[str]) -> dict[int, str]:
        """Position -> reason, of the texts that the model could not embed when last asked."""
        digest = identity_digest(identity)
        entries = quarantine.read_quarantine(self.folder, digest) if len(texts) else {}
        if not entries:
            return {}
        keys = quarantine.hex_keys(text_keys(digest, texts))
        return {position: entries[key] for position, key in enumerate(keys) if key in entries}

    def remembered(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The identity that was written last among those that agree with an embedder's `settings`; None if none does.

        It needs no server: what only a server can tell (a digest) is taken from memory.
        """
        for shard in reversed(self.store.shards().values()):
            identity = shard.header.identity
            if all(identity.get(name) == value for name, value in settings.items()):
                return identity
        return None

    def identity_of(self, embedder: Embedder, role: Role = "document") -> dict[str, Any]:
        """The embedder's identity; from memory while its server does not answer.

        Raises:
            EmbedderError: if the server does not answer and the cache has never seen the model.
        """
        try:
            return embedder.identity(role)
        except EmbedderError as error:
            identity = self.remembered(embedder.settings(role))
            if identity is None:
                raise
            log.warning("%s Going on with what the cache remembers of the model.", f"{error}".rstrip(".") + ".")
            return identity

    def identities(self) -> list[RememberedIdentity]:
        """Every model and role that the cache knows, oldest first."""
        live = self.store.index.live_rows()
        groups: dict[bytes, list[tuple[int, Shard]]] = {}
        for shard_id, shard in self.store.shards().items():
            groups.setdefault(shard.header.digest, []).append((shard_id, shard))
        found = []
        for digest, members in groups.items():
            oldest, newest = members[0][1].header, members[-1][1].header
            found.append(
                RememberedIdentity(
                    identity=newest.identity,
                    dim=newest.dim,
                    rows=sum(live.get(shard_id, 0) for shard_id, _ in members),
                    bytes=sum(shard.bytes_on_disk() for _, shard in members),
                    shards=len(members),
                    quarantined=len(quarantine.read_quarantine(self.folder, digest)),
                    provenance=newest.provenance,
                    first_written=oldest.created,
                    last_written=newest.created,
                )
            )
        return found

    def fill(
        self,
        embedder: Embedder,
        texts: Sequence[str],
        role: Role = "document",
        on_batch: Callable[[int], None] | None = None,
        retry_quarantined: bool = False,
    ) -> filling.FillReport:
        """Embed what is missing; see `alignkit.cache.filling.fill`."""
        return filling.fill(self, embedder, texts, role, on_batch, retry_quarantined)

    def verify(self) -> verifying.VerifyReport:
        """Check every byte; see `alignkit.cache.verifying.verify`."""
        self.finish_writers()
        return verifying.verify(self.store)

    def prune(self, keep: Iterable[Mapping[str, Any]]) -> pruning.Removed:
        """Drop what none of these identities made; see `alignkit.cache.pruning.prune`."""
        self.finish_writers()
        return pruning.prune(self.store, keep)

    def merge(self, other_folder: str | Path) -> int:
        """Take in another cache; see `alignkit.cache.merging.merge`."""
        return merging.merge(self.store, other_folder)

    def forget(self, texts: Sequence[str]) -> int:
        """Remove texts for good; see `alignkit.cache.forgetting.forget`."""
        self.finish_writers()
        return forgetting.forget(self.store, texts)

    def finish_writers(self) -> None:
        """Commit, and let every writer begin a new shard."""
        with self.lock:
            for writer in self.writers.values():
                writer.finish_shard()

    def close(self) -> None:
        """Commit, and free all files; harmless twice."""
        with self.lock:
            try:
                for writer in self.writers.values():
                    writer.close()
            finally:
                self.writers.clear()
                self.store.close()

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
