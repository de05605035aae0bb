"""What a store knows of texts under an identity: where their vectors are, why some have none, which were cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alignkit.cache.cut_texts import read_cut
from alignkit.cache.index import ROW_BITS
from alignkit.cache.keyed_texts import KeyedTexts
from alignkit.cache.keys import contains, identity_digest
from alignkit.cache.quarantine import hex_keys, read_quarantine
from alignkit.cache.store import ShardStore
from alignkit.cache.stored import StoredVectors
from alignkit.cache.stored_models import StoredModels
from alignkit.errors import CacheError


class Lookup:
    """Finds texts in a store, under every identity whose vectors stand for the one that is asked for.

    Texts may be given as `KeyedTexts`, which are then hashed no second time.
    """

    def __init__(self, store: ShardStore) -> None:
        self.store = store
        self.models = StoredModels(store)

    def places(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Where the texts' vectors are, `(N,)` int64; -1 for a text that has none."""
        keyed = KeyedTexts.of(texts)
        places = np.full(len(keyed), -1, dtype=np.int64)
        for filed in self.models.same(identity):
            left = np.flatnonzero(places < 0)
            if not len(left):
                break
            places[left] = self.store.locate(keyed.take(left).keys(identity_digest(filed)))
        shards, used = self.store.shards(), np.unique(places[places >= 0] >> ROW_BITS).tolist()
        unfit = [number for number in used if not shards[number].header.is_of_its_width]
        if unfit:
            places[np.isin(places >> ROW_BITS, unfit)] = -1
        return places

    def missing(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Positions of the texts that have no vector, ascending int64."""
        return np.flatnonzero(self.places(identity, texts) < 0)

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
                f"in {self.store.folder}; embed them with python -m alignkit.embed"
            )
        return self.store.vectors_at(places)

    def gather(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, in their order: `(N, dim)` float32.

        Raises:
            CacheError: if some have none; it counts them.
        """
        vectors = self.vectors_of(identity, texts)
        out = np.empty(vectors.shape, dtype=np.float32)
        vectors.read_into(out)
        return out

    def quarantined(self, identity: Mapping[str, Any], texts: Sequence[str]) -> dict[int, str]:
        """Position -> reason, of the texts that the model could not embed when last asked."""
        keyed = KeyedTexts.of(texts)
        found: dict[int, str] = {}
        for filed in self.models.same(identity) if len(keyed) else ():
            digest = identity_digest(filed)
            if entries := read_quarantine(self.store.folder, digest):
                names = hex_keys(keyed.keys(digest))
                found |= {position: entries[name] for position, name in enumerate(names) if name in entries}
        return found

    def cut(self, identity: Mapping[str, Any], texts: Sequence[str]) -> int:
        """How many texts are longer than the model's context, so that their vectors cover only their beginnings."""
        keyed = KeyedTexts.of(texts)
        found = np.zeros(len(keyed), dtype=bool)
        for filed in self.models.same(identity):
            digest = identity_digest(filed)
            if len(keys := read_cut(self.store.folder, digest)):
                found |= contains(keyed.keys(digest), keys)
        return int(found.sum())
