"""The cache itself: which texts have a vector, the vectors, and what is remembered of the models behind them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.cache import filling, forgetting, merging, pruning, verifying
from alignkit.cache.fill_report import FillReport
from alignkit.cache.headers import ShardHeader
from alignkit.cache.index import Version
from alignkit.cache.keyed_texts import KeyedTexts
from alignkit.cache.lookup import Lookup
from alignkit.cache.recognising import identity_of
from alignkit.cache.store import ShardStore
from alignkit.cache.stored import StoredVectors
from alignkit.cache.stored_models import RememberedIdentity
from alignkit.cache.writers import Writers
from alignkit.embedders.base import EmbeddedBatch, Embedder, Role
from alignkit.setting_rules import check, one_of

DTYPES = ("float16", "float32")


class VectorCache:
    """Vectors on disk, keyed by identity and text; several models in one folder, several processes at once.

    Texts that go through several of its methods are given as `KeyedTexts`, and then hashed once.

    Args:
        folder: made if it is not there, unless `create` is False. One that cannot be written can still be read.
        dtype: of new vectors, "float16" or "float32". Vectors that float16 cannot hold are stored as float32.
        create: whether to make a cache if there is none.
        only_read: leave everything on the disk as it is.

    Raises:
        CacheError: if the folder cannot be opened.
    """

    def __init__(
        self, folder: str | Path, dtype: str = "float16", create: bool = True, only_read: bool = False
    ) -> None:
        check({"dtype": dtype}, {"dtype": one_of(DTYPES)})
        self.folder = Path(folder).expanduser()
        self.store = ShardStore(self.folder, create and not only_read, only_read)
        self.lookup = Lookup(self.store)
        self._writers = Writers(self.store, dtype)

    def missing(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Positions of the texts that have no vector, ascending int64."""
        return self.lookup.missing(identity, texts)

    def gather(self, identity: Mapping[str, Any], texts: Sequence[str]) -> np.ndarray:
        """Vectors of texts, in their order: `(N, dim)` float32.

        Raises:
            CacheError: if some have none; it counts them.
        """
        return self.lookup.gather(identity, texts)

    def vectors_of(self, identity: Mapping[str, Any], texts: Sequence[str]) -> StoredVectors:
        """Vectors of texts as an array that is read only where it is looked at, in the type they are stored in.

        Raises:
            CacheError: if some have none; it counts them.
        """
        return self.lookup.vectors_of(identity, texts)

    def quarantined(self, identity: Mapping[str, Any], texts: Sequence[str]) -> dict[int, str]:
        """Position -> reason, of the texts that the model could not embed when last asked."""
        return self.lookup.quarantined(identity, texts)

    def cut(self, identity: Mapping[str, Any], texts: Sequence[str]) -> int:
        """How many texts are longer than the model's context, so that their vectors cover only their beginnings."""
        return self.lookup.cut(identity, texts)

    def same(self, identity: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Identities whose vectors stand for this one's; see `StoredModels.same`."""
        return self.lookup.models.same(identity)

    def headers(self, identity: Mapping[str, Any]) -> list[ShardHeader]:
        """Headers of the shards that hold an identity's vectors, the oldest first."""
        return self.lookup.models.headers(identity)

    def remembered(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The stored identity that an embedder's `settings` meant last; None if there is none."""
        return self.lookup.models.remembered(settings)

    def identity_of(self, embedder: Embedder, role: Role = "document") -> dict[str, Any]:
        """The embedder's identity as the cache files it; see `alignkit.cache.recognising.identity_of`."""
        return identity_of(self.lookup, embedder, role)

    def identities(self) -> list[RememberedIdentity]:
        """Every model and role that the cache knows, oldest first."""
        return self.lookup.models.summaries()

    def fill(
        self,
        embedder: Embedder,
        texts: Sequence[str],
        role: Role = "document",
        on_batch: Callable[[int], None] | None = None,
        retry_quarantined: bool = False,
    ) -> FillReport:
        """Embed what is missing; see `alignkit.cache.filling.fill`."""
        return filling.fill(self.lookup, self._writers, embedder, texts, role, on_batch, retry_quarantined)

    def embed_missing(
        self,
        embedder: Embedder,
        role: Role,
        identity: Mapping[str, Any],
        texts: KeyedTexts,
        as_of: Version | None = None,
    ) -> Iterator[EmbeddedBatch]:
        """Embed and store distinct texts; see `alignkit.cache.filling.embed_missing`."""
        return filling.embed_missing(self.lookup, self._writers, embedder, role, identity, texts, as_of)

    def verify(self, on_rows: Callable[[int], None] = lambda count: None) -> verifying.VerifyReport:
        """Check every byte; see `alignkit.cache.verifying.verify`."""
        self._writers.finish()
        return verifying.verify(self.store, on_rows)

    def prune(self, keep: Iterable[Mapping[str, Any]]) -> pruning.Removed:
        """Drop what none of these identities made; see `alignkit.cache.pruning.prune`."""
        self._writers.finish()
        return pruning.prune(self.store, [same for identity in keep for same in self.same(identity)])

    def merge(self, other_folder: str | Path, on_rows: Callable[[int], None] = lambda count: None) -> int:
        """Take in another cache; see `alignkit.cache.merging.merge`."""
        return merging.merge(self.store, other_folder, on_rows)

    def forget(self, texts: Sequence[str]) -> int:
        """Remove texts for good; see `alignkit.cache.forgetting.forget`."""
        self._writers.finish()
        return forgetting.forget(self.store, texts)

    def close(self) -> None:
        """Commit and free all files; calling it twice does no harm."""
        try:
            self._writers.close()
        finally:
            self.store.close()

    def __enter__(self) -> VectorCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
