"""Embedders of a fake server on loopback."""

import pytest
from fake_server import FakeServer

from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder


@pytest.fixture
def server():
    with FakeServer() as running:
        yield running


@pytest.fixture
def ollama(server):
    embedders = []

    def make(**settings):
        defaults = {"model": "tiny", "base_url": server.url, "batch_size": 4, "retry_wait_s": 0.01, "timeout_s": 5}
        embedders.append(OllamaEmbedder(**{**defaults, **settings}))
        return embedders[-1]

    yield make
    for embedder in embedders:
        embedder.close()


@pytest.fixture
def openai(server):
    embedders = []

    def make(**settings):
        defaults = {"model": "tiny", "base_url": f"{server.url}/v1", "batch_size": 4, "retry_wait_s": 0.01}
        embedders.append(OpenAIEmbedder(**{**defaults, **settings}))
        return embedders[-1]

    yield make
    for embedder in embedders:
        embedder.close()
