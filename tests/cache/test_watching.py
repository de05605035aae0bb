"""A model that is replaced behind its server while texts are embedded: only what is surely one model's is kept."""

import functools
import logging

import numpy as np
import pytest
from fake_server import FakeServer, reset_mid_body, vector_of
from waiting import HANG_S

from alignkit.cache import CachedEmbedder, VectorCache, watching
from alignkit.cache.watching import ModelChangedError
from alignkit.embedders.base import embed_all
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.errors import CacheError, EmbedderError

TEXTS = [f"text number {number}" for number in range(60)]
LLAMA = {"n_params": 1, "size": 2, "n_embd": 8, "n_vocab": 3}


@pytest.fixture
def server():
    with FakeServer() as running:
        running.replace_model("tiny:latest", "first")
        yield running


@pytest.fixture
def behind(server):
    """Makes embedders; requests come one after the other, so that the number of a request says whose texts it has."""
    made = []

    def make(kind="ollama", **settings):
        settings = {"batch_size": 5, "concurrency": 1, "retry_wait_s": 0.01, **settings}
        if kind == "ollama":
            made.append(OllamaEmbedder("tiny", server.url, **settings))
        else:
            made.append(OpenAIEmbedder("tiny", f"{server.url}/v1", **settings))
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


@pytest.fixture(params=[0.0, 30.0], ids=["each batch", "at the end"])
def pace(request, monkeypatch):
    monkeypatch.setattr(watching, "EVERY_S", request.param)
    return request.param


def stored_weights(cache, identity, texts):
    """Whose the stored vectors are, by text."""
    kept = [text for place, text in enumerate(texts) if place not in cache.missing(identity, texts).tolist()]
    vectors = cache.gather(identity, kept) if kept else np.empty((0, 8))
    found = {}
    for text, vector in zip(kept, vectors, strict=True):
        close = [weights for weights in ("first", "second") if vector @ vector_of(weights + text, 8) > 0.999]
        found[text] = close[0]
    return found


@pytest.mark.usefixtures("pace")
def test_a_model_replaced_in_the_middle_leaves_no_mixture(server, behind, tmp_path):
    embedder = behind()
    server.events[7] = lambda: server.replace_model("tiny:latest", "second")
    with VectorCache(tmp_path) as cache:
        with pytest.raises(
            ModelChangedError, match=r"was replaced while it was embedding \(weights: .*'text number"
        ) as caught:
            cache.fill(embedder, TEXTS)
        identity = embedder.identity()
        kept = stored_weights(cache, identity, TEXTS)
        assert set(kept.values()) <= {"first"}
        assert not set(kept) & set(caught.value.texts)
        # the same command again: the new model, for all texts
        again = behind()
        report = cache.fill(again, TEXTS)
        assert (report.new, report.cached) == (60, 0)
        assert set(stored_weights(cache, again.identity(), TEXTS).values()) == {"second"}
        assert stored_weights(cache, identity, TEXTS) == kept
        assert cache.verify().problems == []


def test_what_was_sure_before_is_kept_and_what_is_not_is_named(server, behind, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "EVERY_S", 0.0)
    monkeypatch.setattr(watching, "AT_ONCE_S", HANG_S)
    server.events[7] = lambda: server.replace_model("tiny:latest", "second")
    embedder = behind()
    with VectorCache(tmp_path) as cache:
        with pytest.raises(ModelChangedError) as caught:
            cache.fill(embedder, TEXTS)
        assert len(cache.missing(embedder.identity(), TEXTS)) < 60 - 15
        assert "texts embedded last are not kept" in str(caught.value)
        assert 5 <= len(caught.value.texts) <= 15


def test_another_parameter_that_no_vector_depends_on_stops_nothing(server, behind, tmp_path, pace):
    def set_temperature():
        card = server.cards["tiny"]
        server.digests["tiny:latest"] = "f" * 64
        server.cards["tiny"] = {**card, "parameters": "temperature    0.7"}

    server.events[7] = set_temperature
    with VectorCache(tmp_path) as cache:
        assert cache.fill(behind(), TEXTS).new == 60
        assert cache.fill(behind(), TEXTS).cached == 60


def test_it_is_asked_at_most_once_a_second(server, behind, tmp_path):
    asked = []
    embedder = behind(batch_size=1)
    find = embedder._models.find
    embedder._models.find = lambda *a, **k: asked.append(1) or find(*a, **k)
    with VectorCache(tmp_path) as cache:
        seconds = cache.fill(embedder, TEXTS).seconds
    assert len(asked) <= 4 + seconds  # at the start for the identity, for its copy, before the first text; at the end


@pytest.mark.usefixtures("pace")
def test_a_server_that_tells_nothing_is_known_by_its_vectors(server, behind, tmp_path):
    server.events[9] = lambda: setattr(server, "weights", "second")
    server.digests.clear()
    embedder = behind("openai")
    with VectorCache(tmp_path) as cache:
        with pytest.raises(ModelChangedError, match=r"embeds a text differently now \(cosine"):
            cache.fill(embedder, TEXTS)
        assert set(stored_weights(cache, embedder.identity(), TEXTS).values()) <= {"first"}


@pytest.mark.usefixtures("pace")
def test_a_llama_server_that_loads_another_file_is_noticed(server, behind, tmp_path):
    def swap():
        server.weights = "second"
        server.v1_models = {"data": [{"id": "tiny", "meta": {**LLAMA, "size": 9}}]}

    server.v1_models = {"data": [{"id": "tiny", "meta": LLAMA}]}
    server.events[7] = swap
    embedder = behind("openai")
    with VectorCache(tmp_path) as cache:
        with pytest.raises(ModelChangedError, match=r"digest: .*size=2.*size=9|embeds a text differently"):
            cache.fill(embedder, TEXTS)
        assert set(stored_weights(cache, embedder.identity(), TEXTS).values()) <= {"first"}


@pytest.mark.usefixtures("pace")
def test_a_server_started_again_with_other_settings_is_noticed(server, behind, tmp_path):
    """Its digest is the same, its vectors are not; connections break when a server ends."""

    def restart():
        server.weights = "second"
        server.faults = [reset_mid_body]

    server.events[7] = restart
    embedder = behind()
    with VectorCache(tmp_path) as cache:
        with pytest.raises(
            ModelChangedError, match="as it would after a restart with other settings.*Start it as before"
        ):
            cache.fill(embedder, TEXTS)
        assert set(stored_weights(cache, embedder.identity(), TEXTS).values()) <= {"first"}


@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_a_server_started_with_other_settings_between_two_runs_is_noticed(server, behind, tmp_path, kind):
    with VectorCache(tmp_path) as cache:
        cache.fill(behind(kind), TEXTS[:20])
        server.weights = "second"  # say, another pooling: no digest tells
        with pytest.raises(CacheError, match=r"reports no change, but tiny now .*start it with its earlier settings"):
            cache.fill(behind(kind), TEXTS)
        assert len(cache.missing(behind(kind).identity(), TEXTS)) == 40


def test_after_a_fault_what_is_sure_is_kept(server, behind, tmp_path):
    embedder = behind(retries=0)
    server.events[7] = lambda: setattr(server, "always", lambda handler, texts: handler.send_json(401, {"error": "no"}))
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match="401"):
            cache.fill(embedder, TEXTS)
        assert len(cache.missing(embedder.identity(), TEXTS)) == 60 - 30


def test_after_a_fault_what_another_model_may_have_made_is_not_kept(server, behind, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(watching, "EVERY_S", HANG_S)
    monkeypatch.setattr(watching, "AT_ONCE_S", HANG_S)

    def replace_and_fail():
        server.replace_model("tiny:latest", "second")
        server.always = lambda handler, texts: handler.send_json(401, {"error": "no"})

    embedder = behind(retries=0)
    server.events[7] = replace_and_fail
    with VectorCache(tmp_path) as cache, caplog.at_level(logging.WARNING):
        with pytest.raises(EmbedderError, match="401"):
            cache.fill(embedder, TEXTS)
        assert set(stored_weights(cache, embedder.identity(), TEXTS)) <= set(TEXTS[:5])  # the first batch was asked for
    assert "are not kept" in caplog.text


def test_ctrl_c_keeps_what_is_sure(server, behind, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "EVERY_S", 0.0)

    def interrupt(count):
        if count >= 5:
            raise KeyboardInterrupt

    embedder = behind()
    with VectorCache(tmp_path) as cache:
        with pytest.raises(KeyboardInterrupt):
            cache.fill(embedder, TEXTS, on_batch=interrupt)
        assert 5 <= 60 - len(cache.missing(embedder.identity(), TEXTS)) < 60


def test_a_check_that_is_not_answered_is_asked_again(server, behind, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "EVERY_S", 0.05)
    embedder = behind()
    current, failures = embedder.current_identity, [EmbedderError("busy")] * 3
    asked = []

    def flaky(role="document"):
        asked.append(role)
        if len(asked) > 1 and failures:
            raise failures.pop()
        return current(role)

    embedder.current_identity = flaky
    with VectorCache(tmp_path) as cache:
        assert cache.fill(embedder, TEXTS).new == 60
    assert not failures


def test_a_check_that_is_never_answered_keeps_nothing(server, behind, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "EVERY_S", 0.0)
    monkeypatch.setattr(watching, "UNSURE_S", 0.2)
    embedder = behind()
    current, asked = embedder.current_identity, []

    def silent(role="document"):
        asked.append(role)
        if len(asked) > 1:
            raise EmbedderError("no answer within 10 s")
        return current(role)

    embedder.current_identity = silent
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match="it is unknown which model made the last .* they are not kept"):
            cache.fill(embedder, TEXTS)
        assert len(cache.missing(embedder.identity(), TEXTS)) == 60


def test_through_a_cached_embedder_too(server, behind, tmp_path):
    server.events[7] = functools.partial(server.replace_model, "tiny:latest", "second")
    embedder = behind()
    with VectorCache(tmp_path) as cache:
        with pytest.raises(ModelChangedError):
            embed_all(CachedEmbedder(embedder, cache), TEXTS)
        assert set(stored_weights(cache, embedder.identity(), TEXTS).values()) <= {"first"}


@pytest.mark.usefixtures("pace")
def test_a_server_whose_vectors_depend_on_the_batch_is_no_other_server(server, behind, tmp_path, caplog):
    """A quantised chat model behind llama-server: a text and itself have a cosine of .9967 to 1."""
    server.digests.clear()
    server.unsteady = 0.08
    embedder = behind("openai")
    with caplog.at_level(logging.WARNING), VectorCache(tmp_path) as cache:
        cache.fill(embedder, TEXTS)
        assert not len(cache.missing(embedder.identity(), TEXTS))
        # what is stored is compared with what another run gets
        cache.fill(behind("openai"), [*TEXTS, "one more"])
    assert "depends on what the server computes beside it: a text and itself have a cosine of 0.99" in caplog.text


@pytest.mark.usefixtures("pace")
def test_what_is_as_unlike_as_another_model_is_still_noticed(server, behind, tmp_path):
    server.digests.clear()
    server.unsteady = 0.4
    with VectorCache(tmp_path) as cache, pytest.raises(ModelChangedError, match="embeds a text differently now"):
        cache.fill(behind("openai"), TEXTS)
