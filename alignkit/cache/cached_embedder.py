"""An embedder that asks its cache first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alignkit.cache.keyed_texts import KeyedTexts
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
        """Yield first what is stored, then what is embedded now; a text that stands twice comes twice in one batch."""
        identity, lookup = self.identity(role), self._cache.lookup
        asked = KeyedTexts.of(texts)
        unique, repeated = asked.take(asked.firsts()), _Repetitions(asked)
        as_of = lookup.store.index.version()
        lacking = [np.empty(0, dtype=np.int64)]
        for start in range(0, len(unique), BLOCK_ROWS):
            rows = np.arange(start, min(start + BLOCK_ROWS, len(unique)))
            places = lookup.places(identity, unique.take(rows))
            lacking.append(rows[places < 0])
            if len(stored := np.flatnonzero(places >= 0)):
                # read as soon as it is found, before another process can move it
                vectors = np.asarray(lookup.store.vectors_at(places[stored]), dtype=np.float32)
                yield repeated.everywhere(EmbeddedBatch(rows[stored], vectors))
        missing = np.concatenate(lacking)
        known = lookup.quarantined(identity, unique.take(missing))
        if known:
            failures = {int(missing[place]): reason for place, reason in known.items()}
            yield repeated.everywhere(self._failed(failures))
            missing = np.delete(missing, list(known))
        if not len(missing):
            return
        done = np.zeros(len(missing), dtype=bool)
        for batch in self._cache.embed_missing(self._embedder, role, identity, unique.take(missing), as_of):
            done[[*batch.indices, *batch.failures]] = True
            failures = {int(missing[place]): reason for place, reason in batch.failures.items()}
            cut = frozenset(missing[sorted(batch.cut)].tolist())
            vectors = batch.vectors.astype(np.float32)
            yield repeated.everywhere(EmbeddedBatch(missing[batch.indices], vectors, failures, cut))
        elsewhere = missing[~done]  # another process was faster
        for start in range(0, len(elsewhere), BLOCK_ROWS):
            rows = elsewhere[start : start + BLOCK_ROWS]
            yield repeated.everywhere(EmbeddedBatch(rows, lookup.gather(identity, unique.take(rows))))

    def _failed(self, failures: dict[int, str]) -> EmbeddedBatch:
        return EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.dim), np.float32), failures)

    def close(self) -> None:
        """Close the embedder; the cache belongs to who opened it."""
        self._embedder.close()


class _Repetitions:
    """Where each distinct text stands."""

    def __init__(self, texts: KeyedTexts) -> None:
        numbers = texts.numbers()
        self._order = np.argsort(numbers, kind="stable")
        self._counts = np.bincount(numbers)
        self._starts = np.cumsum(self._counts) - self._counts

    def everywhere(self, batch: EmbeddedBatch) -> EmbeddedBatch:
        """A batch of distinct texts as one of all texts that are equal to them."""
        if len(self._counts) == len(self._order):
            return batch
        counts = self._counts[batch.indices]
        rows = np.repeat(np.arange(len(counts)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        places = self._order[np.repeat(self._starts[batch.indices], counts) + within]
        failures = {place: why for number, why in batch.failures.items() for place in self._at(number)}
        cut = frozenset(place for number in batch.cut for place in self._at(number))
        return EmbeddedBatch(places, batch.vectors[rows], failures, cut)

    def _at(self, number: int) -> list[int]:
        start = self._starts[number]
        places: list[int] = self._order[start : start + self._counts[number]].tolist()
        return places
