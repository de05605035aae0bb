from __future__ import annotations

import pytest
from hash_embedder import HashEmbedder

from alignkit.cache import VectorCache


@pytest.fixture
def embedder():
    return HashEmbedder()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def cache(folder):
    with VectorCache(folder) as opened:
        yield opened
