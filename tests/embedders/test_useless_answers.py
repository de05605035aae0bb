"""A whole answer that is of no use is the server's fault: it ends in an error, and no text is blamed."""

import json

import numpy as np
import pytest
from collecting import assert_right, collect
from fake_server import raw_rows, vector_of

from alignkit.cache import VectorCache
from alignkit.errors import EmbedderError

TEXTS = [f"sentence number {number}" for number in range(23)]
USELESS = {
    "zeros": "[0,0,0,0,0,0,0,0]",
    "nulls": "[null,null,null,null,null,null,null,null]",
    "null": "null",
    "NaN": "[NaN,NaN,NaN,NaN,NaN,NaN,NaN,NaN]",
    "Inf": "[Infinity,1,1,1,1,1,1,1]",
    "empty": "[]",
    "words": '"vector"',
    "nested": "[[1,2,3],[4,5,6]]",
}


def every_row(row):
    return raw_rows(lambda rows: "[" + ",".join([row] * len(rows)) + "]")


@pytest.mark.parametrize(
    ("row", "batch_size"), [*((name, 4) for name in USELESS), *((name, 1) for name in ("zeros", "null", "empty"))]
)
def test_nothing_is_quarantined_and_the_mended_server_goes_on(server, ollama, tmp_path, row, batch_size):
    server.always = every_row(USELESS[row])
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match="gives no usable vector for any text: .*the model gave|no numbers"):
            cache.fill(ollama(batch_size=batch_size), TEXTS)
        assert len(server.requests) <= 8
        server.always = None
        report = cache.fill(ollama(batch_size=batch_size), TEXTS)
    assert (report.new, report.quarantined) == (len(TEXTS), {})


def test_the_words_say_whose_fault_it_is(server, ollama):
    server.always = every_row(USELESS["NaN"])
    with pytest.raises(EmbedderError, match=r"zero, NaN or Inf; its model is broken .*see its log and load the model"):
        collect(ollama(), TEXTS)


@pytest.mark.parametrize("make", ["ollama", "openai"])
def test_a_server_that_breaks_midway_keeps_what_was_sound(server, request, tmp_path, make):
    sound = 3

    def breaks(handler, texts):
        if len(server.requests) <= sound:
            return texts
        if make == "ollama":
            return every_row(USELESS["NaN"])(handler, texts)
        data = [{"index": place, "embedding": [0.0] * 8} for place in range(len(texts))]
        return handler.send_json(200, {"data": data})

    server.always = breaks
    embedder = request.getfixturevalue(make)(concurrency=1)
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match="no usable vector for any text"):
            cache.fill(embedder, TEXTS)
        server.always = None
        report = cache.fill(embedder, TEXTS)
    assert (report.cached, report.new, report.quarantined) == (4 * sound, len(TEXTS) - 4 * sound, {})


def test_a_text_that_spoils_its_whole_batch_is_found(server, ollama):
    """NaN in one row of a padded batch can reach all of them."""

    def spoilt(handler, texts):
        return every_row(USELESS["NaN"])(handler, texts) if any("spoils" in text for text in texts) else texts

    server.always = spoilt
    texts = [*TEXTS[:9], "this one spoils it", *TEXTS[9:]]
    vectors, failures = collect(ollama(), texts)
    assert list(failures) == [9]
    assert_right(vectors, texts)


def test_rows_past_the_servers_own_batch_are_sent_again(server, ollama):
    def two_only(handler, texts):
        rows = [vector_of(text, 8).tolist() if place < 2 else [0.0] * 8 for place, text in enumerate(texts)]
        handler.send_json(200, {"embeddings": rows})

    server.always = two_only
    vectors, failures = collect(ollama(batch_size=16), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


def test_a_single_text_is_blamed_only_while_the_server_is_sound(server, ollama):
    """Broken, proven sound, broken again: the second failure of the text proves nothing either."""
    harmless = []

    def flaps(handler, texts):
        if texts == ["alignment"]:
            harmless.append(texts)
            if len(harmless) == 1:
                return texts
        return every_row(USELESS["zeros"])(handler, texts)

    server.always = flaps
    with pytest.raises(EmbedderError, match="for any text"):
        collect(ollama(batch_size=1, concurrency=1), TEXTS)


@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("make", ["ollama", "openai"])
def test_one_vector_for_every_text_is_an_error(server, request, tmp_path, make, batch_size):
    def constant(handler, texts):
        row = [0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]
        data = [{"index": place, "embedding": row} for place in range(len(texts))]
        handler.send_json(200, {"embeddings": [row] * len(texts), "data": data})

    server.always = constant
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match="the same vector"):
            cache.fill(request.getfixturevalue(make)(batch_size=batch_size, concurrency=1), TEXTS)
        assert sum(model.rows for model in cache.identities()) <= 1  # where texts go alone, the first is not suspicious
        assert not any(model.quarantined for model in cache.identities())


def test_texts_that_are_one_to_a_model_may_have_one_vector(server, ollama):
    """Upper and lower case, a common beginning longer than the context: nothing is wrong with that."""
    server.always = lambda handler, texts: [text.lower() for text in texts]
    embedder = ollama(batch_size=2, concurrency=1)
    vectors, failures = collect(embedder, ["Reset", "reset", "RESET", "reSet"])
    assert not failures
    assert np.ptp(np.stack(list(vectors.values())), axis=0).max() == 0


@pytest.mark.parametrize("width", [3, 12])
def test_whole_answers_of_another_width_stop(server, ollama, width):
    embedder = ollama(concurrency=1)
    assert embedder.dim == 8
    server.always = raw_rows(lambda rows: json.dumps([(row * 2)[:width] for row in rows]))
    with pytest.raises(EmbedderError, match=f"{width}-d vectors after 8-d ones"):
        collect(embedder, TEXTS)


def test_a_server_that_takes_single_texts_only_says_so(server, ollama):
    """It gives the first vector of a list: sound for single texts, and twice as many requests as texts else."""
    server.always = lambda handler, texts: texts[:1]
    with pytest.raises(EmbedderError, match=r"answers only single texts: .* vectors for \d texts.*set batch_size=1"):
        collect(ollama(batch_size=8, concurrency=1), [f"text {number}" for number in range(200)])
    assert len(server.requests) < 40
    vectors, failures = collect(ollama(batch_size=1), TEXTS)
    assert len(vectors) == len(TEXTS) and not failures


def test_a_text_that_a_server_leaves_out_is_that_texts_failure(server, ollama):
    server.always = lambda handler, texts: [text for text in texts if "left out" not in text]
    texts = [*TEXTS[:5], "left out", *TEXTS[5:], "left out too"]
    vectors, failures = collect(ollama(batch_size=8, concurrency=3), texts)
    assert failures.keys() == {5, len(texts) - 1}
    assert_right(vectors, texts)


def test_indices_that_number_nothing_fail_at_once(server, openai):
    def index_0(handler, texts):
        data = [{"index": 0, "embedding": vector_of(text, 8).tolist()} for text in texts]
        handler.send_json(200, {"data": data})

    server.always = index_0
    with pytest.raises(EmbedderError, match=rf"^{server.url}/v1: its 4 embeddings are not numbered.*set batch_size=1"):
        collect(openai(concurrency=1), TEXTS)
    assert len(server.requests) == 1
    vectors, failures = collect(openai(batch_size=1), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


@pytest.mark.parametrize("code", [413, 422])
def test_a_proxy_that_refuses_every_body_blames_no_text(server, openai, tmp_path, code):
    server.always = lambda handler, texts: handler.send_json(
        code, {"error": "batch size 5 > maximum 4: body too large"}
    )
    with VectorCache(tmp_path) as cache:
        with pytest.raises(EmbedderError, match=rf"no usable vector for any text: HTTP {code}"):
            cache.fill(openai(), TEXTS)
        assert not any(model.quarantined for model in cache.identities())


def test_many_bad_rows_of_many_texts_are_each_their_own(server, ollama):
    texts = [f"<nan> {number}" if number % 3 else f"good {number}" for number in range(30)]
    vectors, failures = collect(ollama(batch_size=8), texts)
    assert failures.keys() == {number for number in range(30) if number % 3}
    assert_right(vectors, texts)


def test_no_request_is_sent_twice_for_a_sound_answer(server, ollama):
    collect(ollama(), TEXTS)
    assert set(server.times_sent().values()) == {1}
