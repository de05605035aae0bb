"""Whose vectors a cache holds, which of them stand for one another, and what an embedder's settings mean."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.cache.headers import ShardHeader
from alignkit.cache.keys import identity_digest
from alignkit.cache.last_meant import note_meaning, read_meaning
from alignkit.cache.quarantine import read_quarantine
from alignkit.cache.shards import Shard
from alignkit.cache.store import ShardStore
from alignkit.embedders.sameness import agrees, same_vectors


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


class StoredModels:
    """The identities in a store.

    Args:
        store: of the vectors.

    Attributes:
        lock: held while `taken_for_same` is worked out.
        taken_for_same: digest of an embedder's identity -> the stored one whose vectors turned out equal, if any.
    """

    def __init__(self, store: ShardStore) -> None:
        self.store = store
        self.lock = threading.RLock()
        self.taken_for_same: dict[bytes, Mapping[str, Any] | None] = {}

    def identities(self) -> list[dict[str, Any]]:
        """Whose vectors there are, the newest first."""
        return self.store.identities()

    def same(self, identity: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Identities whose vectors stand for this one's: first the one that new vectors are filed under.

        That is the newest in the cache, or this one, where the cache has none or none that names the weights.
        """
        taken = self.taken_for_same.get(identity_digest(identity))
        found: list[dict[str, Any]] = []
        left = self.identities()
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
        """Headers of the shards that hold an identity's vectors, the oldest first."""
        digests = {identity_digest(filed) for filed in self.same(identity)}
        headers = [shard.header for shard in self.store.shards().values() if shard.header.is_of_its_width]
        return [header for header in headers if header.digest in digests]

    def remembered(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The stored identity that an embedder's `settings` meant last; None if there is none.

        It needs no server: what only a server can tell (a digest) is taken from memory.
        """
        stored, noted = self.identities(), read_meaning(self.store.folder, settings)
        if noted in stored:
            return noted
        return next((identity for identity in stored if agrees(identity, settings)), None)

    def note(self, settings: Mapping[str, Any], identity: dict[str, Any]) -> None:
        """Remember which identity `settings` mean, where what is stored would tell otherwise."""
        remembered = self.remembered(settings)
        would_mislead = remembered is not None or identity in self.identities()
        if remembered != identity and would_mislead and self.store.why_read_only is None:
            note_meaning(self.store.folder, settings, identity)

    def summaries(self) -> list[RememberedIdentity]:
        """Every model and role in the store, oldest first."""
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
                    quarantined=len(read_quarantine(self.store.folder, digest)),
                    provenance=newest.provenance,
                    first_written=oldest.created,
                    last_written=newest.created,
                )
            )
        return found
