"""One model under several names and manifests: its vectors are found, and nothing is embedded twice."""

import logging

import numpy as np
import pytest
from fake_server import DIGEST, FakeServer, vector_of

from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.cache.identity_writer import IdentityWriter
from alignkit.cache.keys import identity_digest, text_keys
from alignkit.cache.wording import described
from alignkit.embedders.base import embed_all
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder

TEXTS = [f"text number {number}" for number in range(30)]
CARD = {"modelfile": f"FROM /models/blobs/sha256-{'1' * 64}\n", "parameters": ""}


@pytest.fixture
def server():
    with FakeServer() as running:
        running.cards["tiny"] = running.cards["tiny:latest"] = CARD
        running.v1_models = {"data": [{"id": "tiny:latest", "object": "model", "owned_by": "library"}]}
        yield running


@pytest.fixture
def named(server):
    made = []

    def make(name="tiny", kind=OllamaEmbedder, **settings):
        url = server.url if kind is OllamaEmbedder else f"{server.url}/v1"
        server.cards[name] = server.cards["tiny"]
        made.append(kind(name, url, **settings))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


def set_parameter(server, line):
    """What `ollama create` with one more PARAMETER does: another manifest of the same weights."""
    server.digests["tiny:latest"] = identity_digest({"parameter": line}).hex() * 2
    card = {**CARD, "parameters": line}
    server.cards.update(dict.fromkeys(server.cards, card))


def store_as_before(cache, embedder, name, texts, digest=DIGEST, weights="", kind="ollama"):
    """What versions before stored: the name as it was typed, and the manifest alone."""
    identity = {key: value for key, value in embedder.settings().items()} | {"model": name, "digest": digest}
    writer = IdentityWriter(cache.store.shard_folder, cache.store.index, identity, {"server": "ollama"}, "float16")
    vectors = np.array([vector_of(weights + text, 8) for text in texts])
    writer.append(text_keys(identity_digest(identity), texts), vectors, texts)
    writer.close()
    return identity


@pytest.mark.parametrize("kind", [OllamaEmbedder, OpenAIEmbedder])
def test_under_every_name_of_a_model_its_vectors_are_found(server, named, tmp_path, kind):
    with VectorCache(tmp_path) as cache:
        cache.fill(named("tiny", kind), TEXTS)
        for name in ("Tiny:latest", "library/tiny", "registry.ollama.ai/library/TINY"):
            report = cache.fill(named(name, kind), TEXTS)
            assert (report.new, report.cached) == (0, 30), name
            assert cache.remembered(named(name, kind).settings()) is not None
        assert len(cache.identities()) == 1


def test_another_name_for_the_same_weights_is_remembered_without_a_server(server, named, tmp_path):
    """What `ollama cp` makes: nothing is embedded twice, so the new name stands on no vector."""
    server.models = [*server.models, "copy"]
    copy = named("copy")
    with VectorCache(tmp_path) as cache:
        cache.fill(named(), TEXTS)
        assert cache.fill(copy, TEXTS).new == 0
        remembered = cache.remembered(copy.settings())
        assert remembered is not None
        assert len(cache.missing(remembered, TEXTS)) == 0


@pytest.mark.parametrize("name", ["tiny", "tiny:latest", "TINY", "library/tiny"])
def test_what_an_older_version_stored_is_found_and_added_to(server, named, tmp_path, name):
    embedder = named()
    with VectorCache(tmp_path) as cache:
        store_as_before(cache, embedder, name, TEXTS[:20])
        report = cache.fill(embedder, TEXTS)
        assert (report.new, report.cached) == (10, 20)
        np.testing.assert_allclose(
            embed_all(CachedEmbedder(embedder, cache), TEXTS), [vector_of(text, 8) for text in TEXTS], atol=1e-3
        )
        # without a server too
        remembered = cache.remembered(embedder.settings())
        assert len(cache.missing(remembered, TEXTS)) == 0
        assert remembered["weights"] == "1" * 64


def test_two_older_spellings_of_one_model_are_read_as_one(server, named, tmp_path):
    embedder = named()
    with VectorCache(tmp_path) as cache:
        store_as_before(cache, embedder, "tiny:latest", TEXTS[:15])
        store_as_before(cache, embedder, "Tiny", TEXTS[10:])
        assert cache.fill(embedder, TEXTS).cached == 30
        assert len(cache.missing(cache.remembered(embedder.settings()), TEXTS)) == 0


def test_an_older_cache_is_found_after_a_parameter_was_changed_since(server, named, tmp_path, caplog):
    """What was stored since names the weights, by which both manifests are known to be the same."""
    with VectorCache(tmp_path) as cache:
        store_as_before(cache, named(), "tiny", TEXTS[:10])
        cache.fill(named(), TEXTS[:20])
        set_parameter(server, "temperature    0.7")
        report = cache.fill(named(), TEXTS)
        assert (report.new, report.cached) == (10, 20)


def test_of_a_manifest_that_is_gone_the_vectors_tell(server, named, tmp_path, caplog):
    set_parameter(server, "temperature    0.7")
    with VectorCache(tmp_path) as cache, caplog.at_level(logging.INFO):
        store_as_before(cache, named(), "tiny", TEXTS[:20])
        report = cache.fill(named(), TEXTS)
        assert (report.new, report.cached) == (10, 20)
    assert "but stored texts embed to the same vectors; going on with them" in caplog.text
    with VectorCache(tmp_path) as cache:  # and again in the next process
        assert cache.fill(named(), TEXTS).cached == 30


def test_of_a_manifest_that_is_gone_other_vectors_are_another_model(server, named, tmp_path, caplog):
    set_parameter(server, "temperature    0.7")
    with VectorCache(tmp_path) as cache, caplog.at_level(logging.WARNING):
        store_as_before(cache, named(), "tiny", TEXTS[:20], weights="other ")
        report = cache.fill(named(), TEXTS)
        assert (report.new, report.cached) == (30, 0)
    assert "tiny is not the model whose vectors are in" in caplog.text
    assert "digest: expected 'a8b0c5157701'" in caplog.text


@pytest.mark.parametrize("line", ["temperature    0.7", 'stop    "<|im_end|>"', "num_thread    1"])
def test_a_parameter_that_no_vector_depends_on_embeds_nothing_again(server, named, tmp_path, line):
    with VectorCache(tmp_path) as cache:
        cache.fill(named(), TEXTS)
        set_parameter(server, line)
        assert cache.fill(named(), TEXTS).cached == 30


def test_a_parameter_that_vectors_depend_on_is_said_before_all_is_embedded_again(server, named, tmp_path, caplog):
    with VectorCache(tmp_path) as cache, caplog.at_level(logging.WARNING):
        cache.fill(named(), TEXTS)
        set_parameter(server, "num_ctx    16")
        assert cache.fill(named(), TEXTS).new == 30
    assert "parameters: expected {}, got {'num_ctx': '16'}" in caplog.text
    assert caplog.text.count("is not the model whose vectors are in") == 1


def test_an_ollama_known_by_its_address_alone_is_found_through_its_second_api(server, named, tmp_path):
    embedder = named("tiny", OpenAIEmbedder)
    with VectorCache(tmp_path) as cache:
        store_as_before(cache, embedder, "tiny:latest", TEXTS[:20], digest=f"server:{server.url}/v1")
        assert cache.fill(embedder, TEXTS).cached == 20


def test_vectors_of_another_width_than_asked_for_are_not_taken_for_it(server, named, tmp_path):
    """Ollama gives the model's own width where it is asked for more, and older versions stored that."""
    embedder = named(dimensions=1000)
    with VectorCache(tmp_path) as cache:
        identity = store_as_before(cache, embedder, "tiny", TEXTS)
        assert len(cache.missing(identity, TEXTS)) == 30
        assert cache.remembered(embedder.settings()) is None


def test_prune_keeps_a_model_whatever_it_was_called(server, named, tmp_path):
    embedder = named()
    with VectorCache(tmp_path) as cache:
        store_as_before(cache, embedder, "Tiny:latest", TEXTS[:20])
        other = store_as_before(cache, embedder, "another", TEXTS[:5], digest="f" * 64)
        removed = cache.prune([embedder.identity()])
        assert removed.rows == 5
        assert len(cache.missing(other, TEXTS[:5])) == 5
        assert cache.fill(embedder, TEXTS).cached == 20


def test_the_list_tells_two_of_a_name_apart(server, named, tmp_path):
    with VectorCache(tmp_path) as cache:
        cache.fill(named(), TEXTS[:3])
        cache.fill(named(query_prompt="query: "), TEXTS[:3], "query")
        set_parameter(server, "num_ctx    16")
        cache.fill(named(), TEXTS[:3])
        store_as_before(cache, named(), "other", TEXTS[:3])
        models = cache.identities()
        heads = [described(model, models)[0].partition(":")[0] for model in models]
    assert heads[0] == "tiny (prompt '', parameters {})"
    assert heads[2].startswith("tiny (parameters {'num_ctx'") or "num_ctx" in described(models[2], models)[0]
    assert heads[3] == "other"


def test_the_list_says_where_two_entries_are_one_model(server, named, tmp_path):
    with VectorCache(tmp_path) as cache:
        store_as_before(cache, named(), "Tiny:latest", TEXTS[:3])
        cache.fill(named(), TEXTS)
        models = cache.identities()
        assert ["described in another way too" in described(model, models)[0] for model in models] == [True, True]
        assert "1" * 64 not in "".join(described(models[1], models))
        assert "weights=111111111111" in described(models[1], models)[1]
