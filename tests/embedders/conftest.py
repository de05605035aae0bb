"""Embedders of a fake server on loopback."""

import asyncio
from types import SimpleNamespace

import pytest
from fake_server import FakeServer
from waiting import HANG_S

from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.embedders.remote import retries


@pytest.fixture
def waits(monkeypatch):
    """The seconds before each further attempt; they pass at once, for the retries alone."""
    seconds = []

    async def sleep(wait_s):
        seconds.append(wait_s)
        await asyncio.sleep(0)

    clock = SimpleNamespace(monotonic=lambda: 1000 + sum(seconds))
    monkeypatch.setattr(retries, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(retries, "time", clock)
    return seconds


@pytest.fixture
def server():
    with FakeServer() as running:
        yield running


@pytest.fixture
def ollama(server):
    embedders = []

    def make(**settings):
        defaults = {"model": "tiny", "base_url": server.url, "batch_size": 4, "retry_wait_s": 0.01, "timeout_s": HANG_S}
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
