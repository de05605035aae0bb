"""Vectors on disk: shards, index, recovery."""

from alignkit.cache.cached_embedder import CachedEmbedder
from alignkit.cache.fill_report import FillReport
from alignkit.cache.keyed_texts import KeyedTexts
from alignkit.cache.stored_models import RememberedIdentity
from alignkit.cache.vector_cache import VectorCache

__all__ = ["CachedEmbedder", "FillReport", "KeyedTexts", "RememberedIdentity", "VectorCache"]
