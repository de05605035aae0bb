"""Vectors on disk: shards, index, recovery."""

from alignkit.cache.cached_embedder import CachedEmbedder
from alignkit.cache.filling import FillReport
from alignkit.cache.vector_cache import RememberedIdentity, VectorCache

__all__ = ["CachedEmbedder", "FillReport", "RememberedIdentity", "VectorCache"]
