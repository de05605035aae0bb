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
from alignkit.cache.canaries import take_for_same
from alignkit.cache.cut_texts import read_cut
from alignkit.cache.headers import ShardHeader
from alignkit.cache.index import ROW_BITS
from alignkit.cache.keys import contains, identity_digest, text_keys
from alignkit.cache.last_meant import note_meaning, read_meaning
from alignkit.cache.shards import Shard
from alignkit.cache.store import ShardStore
from alignkit.cache.stored import StoredVectors
from alignkit.cache.writing import IdentityWriter
from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.sameness import agrees, same_vectors
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
        # digest of an embedder's identity -> the stored one that its vectors turned out to be equal to, if any
        self.taken_for_same: dict[bytes, Mapping[str, Any] | None] = {}

    def missing(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Positions of the texts that have no vector, ascending int64."""
        return np.flatnonzero(self.places(identity, texts) < 0)

    def places(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Where the texts' vectors are, `(N,)` int64, -1 where there is none, whatever name they were filed under."""
        places = np.full(len(texts), -1, dtype=np.int64)
        for filed in self.same(identity):
            left = np.flatnonzero(places < 0)
            if not len(left):
                break
            wanted = texts if len(left) == len(texts) else [texts[place] for place in left.tolist()]
            places[left] = self.store.locate(text_keys(identity_digest(filed), wanted))
        unfit = [number for number, shard in self.store.shards().items() if not shard.header.is_of_its_width]
        places[np.isin(places >> ROW_BITS, unfit)] = -1
        return places

    def same(self, identity: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Identities whose vectors stand for this one's: first the one that new vectors are filed under.

        That is the newest in the cache, or this one, where the cache has none or none that names the weights.
        """
        taken = self.taken_for_same.get(identity_digest(identity))
        found: list[dict[str, Any]] = []
        left = self.stored_identities()
        reached: list[Mapping[str, Any]] = [identity, *([taken] if taken else [])]
        while reached:  # what an older version stored may be known by way of what was stored since
            here = [stored for stored in left if any(same_vectors(stored, known) for known in reached)]
            left = [stored for stored in left if stored not in here]
            found += here
            reached = list(here)
        found.sort(key=lambda stored: "weights" not in stored)
        if taken is None and "weights" in identity and not (found and "weights" in found[0]):
            return [dict(identity), *found]
        return found or [dict(identity)]

    def headers(self, identity: Mapping[str, Any]) -> list[ShardHeader]:
        """Headers of the shards that hold its vectors, the oldest first."""
        digests = {identity_digest(filed) for filed in self.same(identity)}
        headers = [shard.header for shard in self.store.shards().values() if shard.header.is_of_its_width]
        return [header for header in headers if header.digest in digests]

    def stored_identities(self) -> list[dict[str, Any]]:
        """Whose vectors there are, the newest first."""
        headers = [shard.header for shard in reversed(self.store.shards().values())]
        return list({header.digest: header.identity for header in headers if header.is_of_its_width}.values())

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
        places = self.places(identity, texts)
        lacking = int((places < 0).sum())
        if lacking:
            raise CacheError(
                f"{lacking} of {len(texts)} texts have no vector of {identity.get('model', 'this model')} "
                f"in {self.folder}; embed them with python -m alignkit.embed"
            )
        return self.store.vectors_at(places)

    def quarantined(self, identity: Mapping[str, Any], texts: Sequence[str]) -> dict[int, str]:
        """Position -> reason, of the texts that the model could not embed when last asked."""
        found: dict[int, str] = {}
        for filed in self.same(identity) if len(texts) else ():
            digest = identity_digest(filed)
            if entries := quarantine.read_quarantine(self.folder, digest):
                keys = quarantine.hex_keys(text_keys(digest, texts))
                found |= {position: entries[key] for position, key in enumerate(keys) if key in entries}
        return found

    def cut(self, identity: Mapping[str, Any], texts: Sequence[str]) -> int:
        """How many of the texts are longer than the model's context, so that their vectors are of their beginnings."""
        found = np.zeros(len(texts), dtype=bool)
        for filed in self.same(identity):
            digest = identity_digest(filed)
            if len(keys := read_cut(self.folder, digest)):
                found |= contains(text_keys(digest, texts), keys)
        return int(found.sum())

    def remembered(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The stored identity that an embedder's `settings` meant last; None if there is none.

        It needs no server: what only a server can tell (a digest) is taken from memory.
        """
        stored, noted = self.stored_identities(), read_meaning(self.folder, settings)
        if noted in stored:
            return noted
        return next((identity for identity in stored if agrees(identity, settings)), None)

    def note(self, settings: Mapping[str, Any], identity: dict[str, Any]) -> None:
        """Remember which identity `settings` mean, where what is stored would tell otherwise."""
        remembered = self.remembered(settings)
        would_mislead = remembered is not None or identity in self.stored_identities()
        if remembered != identity and would_mislead and self.store.why_read_only is None:
            note_meaning(self.folder, settings, identity)

    def identity_of(self, embedder: Embedder, role: Role = "document") -> dict[str, Any]:
        """The embedder's identity as the cache files it; from memory while its server does not answer.

        Raises:
            EmbedderError: if the server does not answer and the cache has never seen the model.
        """
        try:
            live = embedder.identity(role)
            with self.lock:
                take_for_same(self, embedder, role, live)
            return self.same(live)[0]
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

    def verify(self, on_rows: Callable[[int], None] = lambda count: None) -> verifying.VerifyReport:
        """Check every byte; see `alignkit.cache.verifying.verify`."""
        self.finish_writers()
        return verifying.verify(self.store, on_rows)

    def prune(self, keep: Iterable[Mapping[str, Any]]) -> pruning.Removed:
        """Drop what none of these identities made; see `alignkit.cache.pruning.prune`."""
        self.finish_writers()
        return pruning.prune(self.store, [same for identity in keep for same in self.same(identity)])

    def merge(self, other_folder: str | Path, on_rows: Callable[[int], None] = lambda count: None) -> int:
        """Take in another cache; see `alignkit.cache.merging.merge`."""
        return merging.merge(self.store, other_folder, on_rows)

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
