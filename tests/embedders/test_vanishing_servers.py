"""A server that is killed, started again, or whose model dies under a request."""

import logging
import subprocess
import sys
from pathlib import Path

import fake_server as fake
import pytest
from collecting import assert_right, collect
from listening import listening
from ports import quiet_port
from waiting import HANG_S

from alignkit.cache import VectorCache
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.embedders.remote import retries as attempts
from alignkit.errors import EmbedderError

TEXTS = [f"sentence number {number}" for number in range(100)]
SERVE = """
import sys
sys.path[:0] = sys.argv[2:]
from fake_server import FakeServer
server = FakeServer(port=int(sys.argv[1]))
server.latency_s = 0.02
print(server.url, flush=True)
server.serve_forever()
"""
EOF = 'do embedding request: Post "http://127.0.0.1:40371/embedding": EOF'


class Process:
    """The fake server in a process of its own, so that it can be killed."""

    def __init__(self):
        self.port = quiet_port()  # also while the server is gone
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        here = Path(fake.__file__).parent
        self.running = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(self.port), str(here), str(here.parent)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.running.stdout.readline().strip() == self.url

    def kill(self):
        self.running.kill()
        self.running.wait()
        self.running.stdout.close()


@pytest.fixture
def process():
    made = Process()
    yield made
    if made.running.poll() is None:
        made.kill()


MAKE = {
    "ollama": (
        lambda url, **settings: OllamaEmbedder("tiny", url, batch_size=4, **settings),
        "start it (`ollama serve`)",
    ),
    "openai": (lambda url, **settings: OpenAIEmbedder("tiny", f"{url}/v1", batch_size=4, **settings), "start it again"),
}


@pytest.mark.parametrize("name", MAKE)
def test_a_server_that_is_gone_is_named_as_such_and_the_same_command_goes_on(
    process, tmp_path, monkeypatch, caplog, name
):
    monkeypatch.setattr(attempts, "GONE_AFTER_S", 1.0)
    make, start = MAKE[name]
    embedder = make(process.url, retry_wait_s=0.2)
    embed, given = embedder.embed, []

    def embed_until_killed(texts, role="document"):
        for batch in embed(texts, role):
            given.append(batch)
            if len(given) == 10:
                process.kill()
            yield batch

    monkeypatch.setattr(embedder, "embed", embed_until_killed)
    with VectorCache(tmp_path) as cache, caplog.at_level(logging.INFO, logger="alignkit"):
        with pytest.raises(EmbedderError) as error:
            cache.fill(embedder, TEXTS)
        message = str(error.value)
        assert " is gone (connection refused); " in message
        assert message.endswith(start)
        assert "timeout_s" not in message and "batch_size" not in message
        retries = [record.getMessage() for record in caplog.records if "again in" in record.getMessage()]
        assert retries and max(map(len, retries)) <= 80
        assert len(retries) <= 10  # of all requests at once, one line
        process.start()
        report = cache.fill(embedder, TEXTS)
    assert report.cached + report.new == len(TEXTS) and not report.quarantined
    embedder.close()


def test_it_takes_some_ten_seconds_to_be_sure(process, waits):
    """Long enough to start it again, too short to give up on."""
    embedder = OllamaEmbedder("tiny", process.url, batch_size=4, concurrency=1)
    batches = embedder.embed(TEXTS)
    next(batches)
    process.kill()
    with pytest.raises(EmbedderError, match="is gone"):
        list(batches)
    assert 9 < sum(waits) < 12
    embedder.close()


def test_a_server_that_comes_back_in_time_costs_nothing(process, monkeypatch):
    monkeypatch.setattr(attempts, "GONE_AFTER_S", HANG_S)  # a busy machine starts it slowly
    embedder = OllamaEmbedder("tiny", process.url, batch_size=4, retry_wait_s=0.4, retries=8)
    batches = embedder.embed(TEXTS)
    first = next(batches)
    process.kill()
    process.start()
    rest = list(batches)
    assert not any(batch.failures for batch in rest)
    assert sum(len(batch.indices) for batch in [first, *rest]) == len(TEXTS)
    embedder.close()


def test_who_has_no_time_is_told_at_once(process, waits):
    """`serve` gives its models one more attempt: its clients wait."""
    embedder = OllamaEmbedder("tiny", process.url, retries=1, retry_wait_s=0.05)
    assert embedder.dim == 8
    process.kill()
    with pytest.raises(EmbedderError, match="is gone") as error:
        collect(embedder, TEXTS[:3])
    assert len(waits) <= 1 and sum(waits) < 1
    assert error.value.brief == "the server is gone"
    embedder.close()


@pytest.mark.parametrize("code", [400, 500])
def test_a_runner_that_dies_costs_no_text(server, ollama, code, caplog):
    calls = []

    def dies(handler, texts):
        calls.append(texts)
        return handler.send_json(code, {"error": EOF}) if len(calls) % 3 == 2 else texts

    server.always = dies
    with caplog.at_level(logging.INFO, logger="alignkit"):
        vectors, failures = collect(ollama(), TEXTS[:40])
    assert not failures
    assert_right(vectors, TEXTS)
    assert "the model's runner died; again in" in caplog.text


def test_a_text_that_kills_the_runner_every_time_is_found(server, ollama):
    server.always = lambda handler, texts: handler.send_json(400, {"error": EOF}) if "killer" in texts else texts
    vectors, failures = collect(ollama(), [*TEXTS[:10], "killer", *TEXTS[10:20]])
    assert list(failures) == [10] and "runner died" in failures[10]


def test_a_runner_that_never_lives_is_no_texts_fault(server, ollama):
    server.always = fake.status(400, EOF)
    with pytest.raises(EmbedderError, match=r"no usable vector for any text: the model's runner died: HTTP 400.*EOF"):
        collect(ollama(), TEXTS)


def test_while_the_model_loads_nobody_gives_up(server, openai, caplog):
    """llama-server answers 503 for as long as it loads, which for a large model is longer than any retries."""
    server.faults = [fake.status(503, "Loading model")] * 12
    with caplog.at_level(logging.INFO, logger="alignkit"):
        vectors, _ = collect(openai(retries=2, retry_wait_s=0.001), TEXTS[:4])
    assert_right(vectors, TEXTS)
    assert "HTTP 503; again in" in caplog.text and "(while it loads)" in caplog.text


def test_a_model_that_loads_for_ever_is_named(server, openai, waits):
    server.always = fake.status(503, "Loading model")
    with pytest.raises(EmbedderError, match="it is still loading its model; try again in a minute"):
        collect(openai(retries=1), TEXTS[:4])
    assert 500 < sum(waits) < 700  # as long as the first answer may take


def test_retries_are_one_short_line_each_and_one_at_a_time_before_the_first_answer(server, ollama, caplog):
    server.faults = [fake.status(503, "busy " * 100)] * 3
    with caplog.at_level(logging.INFO, logger="alignkit"):
        collect(ollama(concurrency=4), TEXTS[:40])
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition("; again")[0] for line in lines] == [f"{server.url[7:]}: HTTP 503"] * 3
    assert all(len(line) <= 80 and "\n" not in line for line in lines)


class TestServersThatHang:
    """They take connections and never answer, as a stopped process or a GPU that hangs: found out once, not per try."""

    WAITS = {"timeout_s": 0.2, "first_timeout_s": HANG_S, "retries": 5, "retry_wait_s": 1}

    @pytest.mark.parametrize("kind", ["ollama", "openai"])
    @pytest.mark.parametrize("what", [lambda one: collect(one, TEXTS), lambda one: one.identity(), lambda one: one.dim])
    def test_from_the_start(self, request, waits, kind, what):
        with listening(hold=True) as place:
            end = "/v1" if kind == "openai" else ""
            embedder = request.getfixturevalue(kind)(base_url=f"http://{place}{end}", **self.WAITS)
            for _ in range(2):  # the second time it is known
                with pytest.raises(EmbedderError, match="but answers nothing.*it hangs; stop it and"):
                    what(embedder)
            assert len(waits) <= 2

    def test_in_the_middle(self, server, ollama, monkeypatch):
        embedder = ollama(**{**self.WAITS, "timeout_s": 1, "concurrency": 2})
        got = []
        server.always = lambda handler, texts: fake.hang(handler, texts) if len(server.requests) > 2 else texts
        with pytest.raises(EmbedderError, match="answers nothing, not even GET api/version: it hangs"):
            for batch in embedder.embed(TEXTS):
                got.append(batch)
                monkeypatch.setattr(fake.Handler, "do_GET", lambda handler: fake.hang(handler, []))
        assert got

    def test_one_that_is_only_busy_is_asked_again(self, server, ollama):
        server.faults = [fake.hang]
        assert len(collect(ollama(timeout_s=1, first_timeout_s=1, retry_wait_s=0.01, retries=5), TEXTS)[0])
