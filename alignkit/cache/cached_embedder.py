"""An embedder that asks its cache first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alignkit.cache.filling import embed_missing
from alignkit.cache.keys import identity_digest, text_keys
from alignkit.cache.vector_cache import VectorCache
from alignkit.embedders.base import EmbeddedBatch, Embedder, Role

BLOCK_ROWS = 4096


class CachedEmbedder:
    """Any embedder through a cache: itself an embedder; what it embeds is stored.

    The vectors it yields went through the cache's type, so that the first run and the next see the same numbers.
    """

    def __init__(self, embedder: Embedder, cache: VectorCache) -> None:
        self._embedder = embedder
        self._cache = cache

    @property
    def dim(self) -> int:
        """Width of the vectors; from memory where the cache knows the model."""
        headers = self._cache.headers(self.identity())
        return headers[-1].dim if headers else self._embedder.dim

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The embedder's own."""
        return self._embedder.settings(role)

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """The embedder's own; from memory while its server does not answer."""
        return self._cache.identity_of(self._embedder, role)

    def provenance(self) -> dict[str, Any]:
        """The embedder's own."""
        return self._embedder.provenance()

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Yield first what is stored, then what is embedded now, last the repetitions."""
        identity = self.identity(role)
        first: dict[str, int] = {}
        for position, text in enumerate(texts):
            first.setdefault(text, position)
        positions = np.fromiter(first.values(), dtype=np.int64, count=len(first))
        repeated = np.setdiff1d(np.arange(len(texts)), positions, assume_unique=True)
        unique = list(first)
        stored = self._cache.places(identity, unique) >= 0
        yield from self._gathered(identity, texts, positions[stored])
        missing = np.flatnonzero(~stored)
        known = self._cache.quarantined(identity, [unique[place] for place in missing])
        failures = {int(positions[missing[place]]): reason for place, reason in known.items()}
        if failures:
            yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.dim), np.float32), dict(failures))
        missing = np.delete(missing, list(known))
        if len(missing):
            here, done = positions[missing], np.zeros(len(missing), dtype=bool)
            wanted = [unique[place] for place in missing]
            keys = text_keys(identity_digest(identity), wanted)
            for batch in embed_missing(self._cache, self._embedder, role, identity, wanted, keys):
                failed = {int(here[place]): reason for place, reason in batch.failures.items()}
                done[[*batch.indices, *batch.failures]] = True
                failures |= failed
                cut = frozenset(here[sorted(batch.cut)].tolist())
                yield EmbeddedBatch(here[batch.indices], batch.vectors.astype(np.float32), failed, cut)
            yield from self._gathered(identity, texts, here[~done])  # another process was faster
        failed_again = {
            int(place): failures[first[texts[place]]] for place in repeated if first[texts[place]] in failures
        }
        if failed_again:
            yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.dim), np.float32), failed_again)
        yield from self._gathered(identity, texts, np.setdiff1d(repeated, list(failed_again)))

    def _gathered(
        self, identity: dict[str, Any], texts: Sequence[str], positions: np.ndarray
    ) -> Iterator[EmbeddedBatch]:
        for start in range(0, len(positions), BLOCK_ROWS):
            part = positions[start : start + BLOCK_ROWS]
            yield EmbeddedBatch(part, self._cache.gather(identity, [texts[place] for place in part]))

    def close(self) -> None:
        """Close the embedder; the cache belongs to who opened it."""
        self._embedder.close()
