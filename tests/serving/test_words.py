"""What a client hears of a failing model is for clients; what can be done about it stands in the operator's log."""

import logging

import pytest
from fake_server import FakeServer, hang, reset_mid_body, status
from odd_students import answer_within
from waiting import HANG_S, Client, post, until

from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact
from alignkit.embedders.ollama import OllamaEmbedder
from alignkit.heads.linear import LinearHead
from alignkit.serving import readiness
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import Limits
from alignkit.serving.service import Service

FOR_OPERATORS = (
    "ollama serve",
    "ollama pull",
    "timeout_s",
    "batch_size",
    "concurrency",
    "base_url",
    "api_key_env",
    "start it",
    "llama-server",
    "the server's log",
    "its log",
    "127.0.0.1",
    "student",
    "allow_",
)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(readiness, "FIRST_WAIT_S", 0.05)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        (status(401, "missing key"), 502, "gave no vectors (HTTP 401); try again later"),
        (status(501, "this model does not support embeddings"), 502, "gave no vectors (HTTP 501); try again later"),
        (status(503, "server busy"), 502, "gave no vectors (HTTP 503); try again later"),
        (hang, 504, "took longer than 0.2 s"),
        (reset_mid_body, 502, "gave no vectors ("),
    ],
)
def test_words_for_clients_and_words_for_the_operator(path, fault, code, words, quick, serve, caplog):
    with FakeServer() as upstream, caplog.at_level(logging.INFO, "alignkit"):
        student = OllamaEmbedder("tiny", upstream.url, retries=0, timeout_s=HANG_S, first_timeout_s=HANG_S)
        head = LinearHead(student.dim, 6).eval().requires_grad_(False)
        aligned = AlignedEmbedder(Artifact({"query_head": head}, None, None), student)
        service = Service(Answerer(aligned), limits=Limits(answer_timeout_s=HANG_S))
        with serve(service) as url:
            caplog.clear()
            if fault is hang:
                answer_within(service, 0.2)
            upstream.always = fault
            answer = post(f"{url}{path}", json={"input": "a"})
            assert answer.status_code == code
            message = answer.json()["error"]["message"] if path.startswith("/v1") else answer.json()["error"]
            assert words in message
            assert not [word for word in FOR_OPERATORS if word in message]
            until(lambda: "the student does not answer" in caplog.text)
            upstream.always = None
            upstream.released.set()
        student.close()
    if code == 502:
        assert upstream.url in caplog.text


def test_one_line_in_the_log_for_many_requests_that_meet_the_same_fault(quick, serve, caplog):
    with FakeServer() as upstream:
        student = OllamaEmbedder("tiny", upstream.url, retries=0)
        head = LinearHead(student.dim, 6).eval().requires_grad_(False)
        aligned = AlignedEmbedder(Artifact({"query_head": head}, None, None), student)
        with serve(Service(Answerer(aligned))) as url, Client() as client:
            upstream.always = status(503, "server busy")
            for _ in range(30):
                assert client.post(f"{url}/v1/embeddings", json={"input": "a"}).status_code == 502
            upstream.always = None
        student.close()
    assert caplog.text.count("the student failed") == 1
    assert caplog.text.count("the student does not answer") == 1
