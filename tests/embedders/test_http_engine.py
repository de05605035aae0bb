"""The engine against a real server on loopback: every fault ends in right vectors, a named failure or a clear error."""

import logging
import socket
import threading
import time

import fake_server as fake
import numpy as np
import pytest
from collecting import assert_right, collect
from fake_server import vector_of
from waiting import HANG_S, joined, until

from alignkit.embedders.base import embed_all
from alignkit.errors import ConfigError, EmbedderError

TEXTS = [f"sentence number {number}" for number in range(23)]


def test_vectors_belong_to_their_texts(ollama):
    vectors, failures = collect(ollama(concurrency=4), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


def test_no_texts_need_no_server(server, ollama):
    assert collect(ollama(), []) == ({}, {})
    assert server.requests == []


@pytest.mark.parametrize(
    "fault",
    [
        fake.status(429),
        fake.status(500, "runner crashed"),
        fake.status(502),
        fake.status(503, "server busy, please try again"),
        fake.status(504),
        fake.reset_mid_body,
        fake.html,
    ],
    ids=["429", "500", "502", "503", "504", "reset", "html"],
)
def test_a_fault_that_passes_costs_nothing(server, ollama, fault):
    server.faults = [fault, fault]
    vectors, failures = collect(ollama(), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)
    assert len(server.requests) == 6 + 2


@pytest.mark.parametrize(
    ("code", "mend"), [(429, "batch_size"), (502, "behind this address"), (503, "batch_size"), (504, "timeout_s")]
)
def test_a_server_that_stays_busy_is_an_error_that_says_so(server, ollama, code, mend):
    server.always = fake.status(code, "overloaded")
    with pytest.raises(EmbedderError, match=rf"failed 3 times in a row: HTTP {code}: overloaded.*{mend}"):
        collect(ollama(retries=2), TEXTS)


def test_what_finished_before_the_error_is_given(server, ollama):
    served = []

    def twice_then_busy(handler, texts):
        served.append(texts)
        return texts if len(served) <= 2 else handler.send_json(503, {"error": "busy"})

    server.always = twice_then_busy
    given = []
    with pytest.raises(EmbedderError):
        given.extend(ollama(concurrency=1, retries=1).embed(TEXTS))
    assert [batch.indices.tolist() for batch in given] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_retry_after_is_honoured(server, ollama, waits):
    server.faults = [fake.status(429, "slow down", {"Retry-After": "3"})]
    collect(ollama(retry_wait_s=0.001), TEXTS[:2])
    assert len(waits) == 1 and waits[0] >= 3


def test_a_server_that_hangs_ends_in_an_error(server, ollama):
    server.always = fake.hang
    with pytest.raises(EmbedderError, match=r"no answer within 1 s.*timeout_s"):
        collect(ollama(timeout_s=1, first_timeout_s=1, retries=1), TEXTS[:2])


def test_the_first_answer_may_take_longer(server, ollama):
    first = []

    def load(handler, texts):
        if not first:
            first.append(texts)
            server.released.wait(1.2)
        return texts

    server.always = load
    collect(ollama(timeout_s=1, first_timeout_s=HANG_S, retries=0), TEXTS[:3])
    assert len(server.requests) == 1


def test_a_refused_connection_is_an_error_with_the_fix(ollama):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(EmbedderError, match=r"cannot connect to http://127.0.0.1:\d+ .*ollama serve"):
            collect(ollama(base_url=url), TEXTS)


def test_a_bad_text_is_found_and_the_others_go_on(server, ollama):
    texts = [*TEXTS]
    texts[5], texts[13], texts[14] = "a <nan> b", "<nan>", "<nan> again"
    vectors, failures = collect(ollama(batch_size=8), texts)
    assert failures.keys() == {5, 13, 14}
    assert all("NaN or Inf" in reason for reason in failures.values())
    assert_right(vectors, texts)


def test_a_bad_text_alone(ollama):
    assert list(collect(ollama(), ["<nan>"])[1]) == [0]


def test_an_older_servers_500_for_nan_is_not_retried(server, openai):
    _, failures = collect(openai(batch_size=2), ["fine", "<nan>"])
    assert "unsupported value: NaN" in failures[1]
    # the batch twice (base64, then plain), its two halves, and before and after the proof that the server works
    assert len(server.requests) == 6


def test_a_server_that_refuses_every_text_is_an_error_not_a_quarantine(server, ollama):
    server.always = fake.status(400, '"tiny" does not support embeddings')
    with pytest.raises(
        EmbedderError, match=r"gives no usable vector for any text: HTTP 400.*does not support embeddings"
    ):
        collect(ollama(), TEXTS)
    assert len(server.requests) <= 8  # those on their way, and a harmless text for each


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"HTTP 401.*api_key_env"),
        (404, r"HTTP 404.*ollama pull tiny"),
        (501, r"gives no vectors for chat models.*--pooling last"),
    ],
)
def test_statuses_that_no_retry_helps(server, ollama, status, message):
    server.always = fake.status(status, "this model does not support embeddings, or is not there")
    with pytest.raises(EmbedderError, match=message):
        collect(ollama(concurrency=1), TEXTS)
    assert len(server.requests) == 1


def test_html_for_every_answer_names_what_came(server, ollama):
    server.always = fake.html
    with pytest.raises(EmbedderError, match=r"not JSON: it is text/html.*Sign in to the proxy"):
        collect(ollama(), TEXTS[:4])


def test_too_few_vectors_are_never_matched_by_guess(server, ollama):
    server.faults = [fake.too_few]
    vectors, failures = collect(ollama(), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


def test_always_too_few_is_an_error(server, ollama):
    server.always = fake.too_few
    with pytest.raises(
        EmbedderError, match=r"gives no usable vector for any text: the server gave 0 vectors for 1 texts"
    ):
        collect(ollama(), TEXTS)


def test_shuffled_indices_are_put_in_order(server, openai):
    server.always = fake.shuffled
    vectors, failures = collect(openai(), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("[NaN,1,1,1,1,1,1,1]", "zero, NaN or Inf"),
        ("[0,0,0,0,0,0,0,0]", "zero, NaN or Inf"),
        ("[1e39,1,1,1,1,1,1,1]", "zero, NaN or Inf"),
        ("[null,1,1,1,1,1,1,1]", "no numbers"),
        ("[]", "no numbers"),
        ('"text"', "no numbers"),
    ],
)
def test_an_unusable_row_is_that_texts_failure_alone(server, ollama, row, reason):
    bad = fake.with_first(row)
    server.always = lambda handler, texts: bad(handler, texts) if texts[0] == TEXTS[0] else texts
    vectors, failures = collect(ollama(concurrency=1), TEXTS)
    assert list(failures) == [0]
    assert reason in failures[0]
    assert_right(vectors, TEXTS)


def test_a_row_that_is_unusable_once_costs_no_text(server, ollama):
    server.faults = [fake.with_first("[NaN,1,1,1,1,1,1,1]")]
    vectors, failures = collect(ollama(concurrency=1), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


def test_another_width_halfway_stops(server, ollama):
    embedder = ollama(concurrency=1)
    assert embedder.dim == 8
    server.dim = 12
    with pytest.raises(EmbedderError, match="12-d vectors after 8-d ones"):
        collect(embedder, TEXTS)


def test_two_widths_in_one_answer_are_not_trusted(server, ollama):
    server.faults = [fake.with_first("[1,2,3]")]
    vectors, failures = collect(ollama(concurrency=1), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


def test_a_batch_limit_is_learnt(server, openai):
    server.most_texts = 3
    vectors, failures = collect(openai(batch_size=12, concurrency=1), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)
    assert max(len(texts) for texts in server.requests[-4:]) == 3


def test_a_body_limit_splits_the_batch(server, ollama):
    server.most_bytes = 200
    vectors, failures = collect(ollama(batch_size=16), [*TEXTS[:8], "x" * 300])
    assert_right(vectors, TEXTS)
    assert list(failures) == [8]
    assert "413" in failures[8]


def test_long_texts_go_in_smaller_batches(server, ollama):
    texts = ["x" * 90_000 + str(number) for number in range(5)]
    assert not collect(ollama(batch_size=32), texts)[1]
    assert sorted(len(request) for request in server.requests) == [1, 2, 2]


def test_texts_that_no_server_should_see(server, ollama):
    texts = ["good", "", " \t\n", "half \ud83d", "cut\0here", "x" * 100_000, "\u200b", "good"]
    vectors, failures = collect(ollama(), texts)
    assert failures.keys() == {1, 2, 3, 4, 6}
    assert "blank" in failures[1] and "surrogate" in failures[3] and "NUL" in failures[4]
    assert_right(vectors, texts)
    assert server.times_sent().keys() == {"good", "x" * 100_000, "alignment"} - (
        {"alignment"} - server.times_sent().keys()
    )


def test_only_texts_that_cannot_be_sent(ollama):
    assert collect(ollama(), ["", "  "])[1].keys() == {0, 1}


def test_requests_overlap_within_the_bound(server, ollama):
    embedder = ollama(batch_size=1, concurrency=3)
    assert embedder.dim == 8  # until there is a vector, the first batch goes alone

    def hold(handler, texts):
        until(lambda: server.most_in_flight >= 3)
        return texts

    server.always = hold
    collect(embedder, TEXTS[:12])
    assert server.most_in_flight == 3


def test_batches_come_as_they_finish(server, ollama):
    seen = []

    def slow_first(handler, texts):
        if TEXTS[0] in texts:
            until(lambda: len(seen) >= 3)
        return texts

    embedder = ollama(concurrency=2)
    assert embedder.dim == 8  # until there is a vector, the first batch goes alone
    server.always = slow_first
    for batch in embedder.embed(TEXTS):
        seen.append(batch.indices[0])
    assert seen.index(0) >= 3


def test_a_slow_consumer_holds_the_requests_back(server, ollama):
    batches = ollama(batch_size=1, concurrency=2).embed([str(number) for number in range(100)])
    next(batches)
    time.sleep(0.3)
    assert len(server.requests) <= 2 * 2 + 1
    batches.close()


def test_leaving_early_cancels_what_is_in_flight(server, ollama):
    server.always = lambda handler, texts: texts if TEXTS[0] in texts else fake.hang(handler, texts)
    embedder = ollama(concurrency=2, batch_size=1)
    batches = embedder.embed(TEXTS)
    next(batches)
    batches.close()  # waits for no answer: there will be none
    server.always = None
    assert len(collect(embedder, TEXTS)[0]) == len(TEXTS)


def test_closing_while_embedding_ends_the_generator(server, ollama):
    server.always = lambda handler, texts: texts if TEXTS[0] in texts else fake.hang(handler, texts)
    embedder = ollama(concurrency=2, batch_size=1)
    batches = embedder.embed(TEXTS)
    next(batches)
    embedder.close()
    with pytest.raises(EmbedderError, match="closed"):
        list(batches)


def own_threads():
    return [thread for thread in threading.enumerate() if thread.name == "alignkit-http"]


def test_close_frees_the_thread_and_is_harmless_twice(ollama):
    before = set(threading.enumerate())
    embedder = ollama()
    collect(embedder, TEXTS)
    assert [thread for thread in own_threads() if thread not in before]
    embedder.close()
    embedder.close()
    assert not [thread for thread in own_threads() if thread not in before]
    with pytest.raises(EmbedderError, match="closed"):
        list(embedder.embed(TEXTS))


def test_threads_may_share_an_embedder(ollama):
    embedder = ollama(concurrency=3)
    results = {}

    def work(name):
        texts = [f"{name} {number}" for number in range(20)]
        results[name] = (texts, embed_all(embedder, texts))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    joined(*threads)
    for texts, vectors in results.values():
        np.testing.assert_allclose(vectors, np.stack([vector_of(text, 8) for text in texts]), atol=1e-6)


def echo(code):
    return lambda handler, texts: handler.send_json(code, {"error": f"cannot embed {texts}"})


@pytest.mark.parametrize("code", [500, 503])
def test_an_echoing_server_gets_no_text_into_the_log(code, server, ollama, caplog):
    server.faults = [echo(code)]
    with caplog.at_level(logging.DEBUG, logger="alignkit"):
        assert len(embed_all(ollama(retry_wait_s=0.01), ["my private words"])) == 1
    assert f"HTTP {code}; again in" in caplog.text
    assert "private" not in caplog.text


def test_the_time_a_model_takes_to_load_is_noted(server, ollama, caplog):
    server.load_ns = 12_300_000_000
    embedder = ollama()
    with caplog.at_level(logging.INFO, logger="alignkit"):
        collect(embedder, TEXTS)
    assert "12.3 s" in caplog.text
    assert embedder.provenance()["load_s"] == 12.3


@pytest.mark.parametrize(("mode", "requests"), [("yes", 6), ("ignored", 6), ("refused", 7)])
def test_base64_where_the_server_has_it(server, openai, mode, requests):
    server.base64_mode = mode
    vectors, failures = collect(openai(concurrency=1), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)
    assert len(server.requests) == requests


def test_a_refused_form_is_no_texts_fault(server, openai):
    """Batches of one text, sent together before the server has refused the first."""
    server.base64_mode, server.latency_s = "refused", 0.05
    vectors, failures = collect(openai(batch_size=1, concurrency=4), TEXTS)
    assert not failures
    assert_right(vectors, TEXTS)


def test_a_bad_text_does_not_cost_the_others_base64(server, openai):
    vectors, failures = collect(openai(batch_size=2, concurrency=1), ["<nan>", *TEXTS])
    assert list(failures) == [0]
    assert server.bodies[-1]["encoding_format"] == "base64"


def test_a_server_that_recovers_costs_no_text(server, ollama):
    """Three errors in a row make a single text suspect; it is tried again once the server has shown that it works."""
    server.faults = [fake.status(500, "runner crashed")] * 3
    vectors, failures = collect(ollama(batch_size=1), ["only one"])
    assert not failures
    assert_right(vectors, ["only one"])


@pytest.mark.parametrize(
    "settings", [{"batch_size": 0}, {"concurrency": 0}, {"timeout_s": 0}, {"base_url": "ftp://localhost"}]
)
def test_settings_that_cannot_be(ollama, settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ollama(**settings)


class TestKeys:
    KEY = "sk-very-secret-1234"

    def test_the_key_comes_from_the_environment(self, server, openai, monkeypatch):
        server.needs_key = self.KEY
        monkeypatch.setenv("ALIGNKIT_TEST_KEY", self.KEY)
        embedder = openai(api_key_env="ALIGNKIT_TEST_KEY")
        assert not collect(embedder, TEXTS)[1]
        shown = repr((embedder, vars(embedder), embedder.identity(), embedder.provenance()))
        assert self.KEY not in shown

    def test_a_refused_key_is_not_repeated(self, server, openai, monkeypatch, caplog):
        server.needs_key = "another"
        monkeypatch.setenv("ALIGNKIT_TEST_KEY", self.KEY)
        with (
            caplog.at_level(logging.DEBUG),
            pytest.raises(EmbedderError, match=r"401.*\*\*\*.*ALIGNKIT_TEST_KEY") as error,
        ):
            collect(openai(api_key_env="ALIGNKIT_TEST_KEY"), TEXTS)
        assert self.KEY not in str(error.value) + caplog.text
        assert error.value.__cause__ is None

    @pytest.mark.parametrize("key", ["", "br\u00fccke"])
    def test_a_missing_or_impossible_key_is_named_by_its_variable(self, openai, monkeypatch, key):
        monkeypatch.setenv("ALIGNKIT_TEST_KEY", key)
        with pytest.raises(EmbedderError, match="ALIGNKIT_TEST_KEY") as error:
            collect(openai(api_key_env="ALIGNKIT_TEST_KEY"), TEXTS)
        assert not key or key not in str(error.value)

    def test_no_key_is_sent_unasked(self, server, openai, monkeypatch):
        monkeypatch.setenv("OPENAI_API_KEY", self.KEY)
        collect(openai(), TEXTS[:1])
        assert "Authorization" not in server.headers_seen[0]

    def test_credentials_in_the_url_stay_out_of_sight(self, server, ollama, caplog):
        embedder = ollama(base_url=server.url.replace("http://", "http://me:hush@"))
        with caplog.at_level(logging.DEBUG):
            collect(embedder, TEXTS[:1])
        assert "hush" not in caplog.text + repr((embedder.identity(), embedder.provenance()))
        assert server.headers_seen[0]["Authorization"].startswith("Basic ")
