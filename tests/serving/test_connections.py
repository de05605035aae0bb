"""The server behind a real socket: slow, vanishing, careless and many clients."""

import concurrent.futures
import json
import os
import socket
import struct
from dataclasses import replace

import numpy as np
import pytest
from odd_students import OddStudent, closed_gate, odd_artifact
from waiting import HANG_S, Client, get, post, until

from alignkit.aligned import AlignedEmbedder
from alignkit.errors import ConfigError
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import Batching, Limits
from alignkit.serving.server import check_exposure, listen, token_from_environment
from alignkit.serving.service import Service

# struct linger: on, no seconds
RESET = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)


def request_bytes(body, length=None):
    head = f"POST /v1/embeddings HTTP/1.1\r\nhost: test\r\ncontent-length: {length or len(body)}\r\n\r\n"
    return head.encode() + body


def connect(url):
    host, _, port = url.removeprefix("http://").partition(":")
    connection = socket.create_connection((host, int(port)), timeout=HANG_S)
    return connection


def read_all(connection):
    """Until the server closes, or has sent a whole answer."""
    received = b""
    while True:
        chunk = connection.recv(65536)
        received += chunk
        if not chunk:
            return received
        head, _, body = received.partition(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:") and len(body) >= int(line.split(b":")[1]):
                return received


def test_many_clients_get_their_own_vectors(service, serve, aligned):
    texts = [f"{word} number {i}" for i in range(60) for word in ("cancel order", "open ticket")]
    expected = aligned.encode(texts)
    with serve(service) as url, Client(base_url=url) as client:

        def embed(text):
            answer = client.post("/v1/embeddings", json={"input": text})
            return answer.json()["data"][0]["embedding"]

        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            got = list(pool.map(embed, texts))
    np.testing.assert_allclose(np.array(got, np.float32), expected, atol=1e-6)


def test_a_slow_body_is_given_up_and_others_are_served_meanwhile(serve):
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent())), limits=Limits(body_timeout_s=HANG_S))
    with serve(service) as url:
        patient, slow = connect(url), connect(url)
        patient.sendall(request_bytes(b'{"input"', length=1000))
        until(lambda: service.bodies.bytes)
        assert post(f"{url}/v1/embeddings", json={"input": "quick"}).status_code == 200
        service.limits = replace(service.limits, body_timeout_s=0.2)
        slow.sendall(request_bytes(b'{"input"', length=1000))
        answer = read_all(slow)
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"did not arrive within 0.2 s" in answer
        slow.close()
        patient.close()


def test_vanishing_clients_do_no_harm(serve):
    gate = closed_gate()
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent(gate=gate))))
    gate.set()
    with serve(service) as url:
        gate.clear()
        for part in (b"", b"POST /v1", request_bytes(b'{"input"', 100), request_bytes(b'{"input": "a"}')):
            for _ in range(5):
                connection = connect(url)
                connection.sendall(part)
                # reset instead of an orderly end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                connection.close()
        gate.set()
        assert post(f"{url}/v1/embeddings", json={"input": "still here"}).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00",
        b"GET\r\n\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"POST /v1/embeddings HTTP/1.1\r\ncontent-length: x\r\n\r\n",
    ],
)
def test_what_is_no_http_gets_a_400(sent, service, serve):
    with serve(service) as url:
        connection = connect(url)
        connection.sendall(sent)
        answer = read_all(connection)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
        connection.close()
        assert get(f"{url}/health").status_code == 200


def test_malformed_bodies_over_a_socket(service, serve):
    with serve(service) as url, Client(base_url=url) as client:
        for body in (b"\xff" * 50, b"[" * 10_000, b'{"input": 1e999}', b'{"input": "\\ud800"}', b'{"input":') * 20:
            answer = client.post("/v1/embeddings", content=body)
            assert 400 <= answer.status_code < 500
            assert answer.json()["error"]["message"]


def test_a_full_queue_is_503_with_retry_after(serve):
    gate = closed_gate()
    gate.set()
    student = OddStudent(gate=gate)
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), student)), batching=Batching(max_queue_texts=2))
    with serve(service) as url, concurrent.futures.ThreadPoolExecutor(8) as pool:
        gate.clear()
        before = len(student.calls)
        answers = [pool.submit(post, f"{url}/v1/embeddings", json={"input": "first"})]
        until(lambda: len(student.calls) > before)
        answers += [pool.submit(post, f"{url}/v1/embeddings", json={"input": ["a", "b"]}) for _ in range(4)]
        until(lambda: sum(answer.done() for answer in answers) == 3)
        gate.set()
        statuses = sorted(answer.result().status_code for answer in answers)
        assert statuses == [200, 200, 503, 503, 503]
        refused = next(answer.result() for answer in answers if answer.result().status_code == 503)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "overloaded"


def test_stopping_finishes_what_was_taken(serve):
    gate = closed_gate()
    gate.set()
    student = OddStudent(gate=gate)
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), student)))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        with serve(service, grace_s=HANG_S) as url:
            gate.clear()
            before = len(student.calls)
            answers = [pool.submit(post, f"{url}/v1/embeddings", json={"input": f"{i}"}) for i in range(6)]
            # the first call takes those that came together
            until(lambda: service._batcher.queued_texts + sum(map(len, student.calls[before:])) == 6)
            pool.submit(lambda: (until(lambda: service.draining), gate.set()))
        assert {answer.result().status_code for answer in answers} == {200}


def test_a_public_address_needs_a_token():
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org"):
        with pytest.raises(ConfigError, match="token_env=.*insecure=true"):
            check_exposure(host, None, insecure=False)
        check_exposure(host, "token", insecure=False)
        check_exposure(host, None, insecure=True)
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        check_exposure(host, None, insecure=False)


def test_the_token_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("SOME_TOKEN", " secret ")
    assert token_from_environment("SOME_TOKEN") == "secret"
    assert token_from_environment(None) is None
    monkeypatch.setenv("SOME_TOKEN", "")
    with pytest.raises(ConfigError, match="token_env=SOME_TOKEN: this environment variable is not set"):
        token_from_environment("SOME_TOKEN")


@pytest.mark.parametrize(
    "key",
    ["sk-proj-a1b2c3d4e5f6g7h8", "hf_abcDEFghiJKL1234567890", "s3cret-passphrase", "Bearer abcdef123456"],
)
def test_a_key_where_its_variables_name_belongs_is_not_repeated(key):
    with pytest.raises(ConfigError, match="token_env: expected the name of an environment variable") as refused:
        token_from_environment(key)
    assert key not in str(refused.value)


def test_a_taken_port_is_one_line():
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}"):
            listen("127.0.0.1", port)
    with pytest.raises(ConfigError, match="expected 0 to 65535"):
        listen("127.0.0.1", 99999)


def test_request_texts_are_never_logged(service, serve, caplog):
    import logging

    with caplog.at_level(logging.DEBUG), serve(service) as url:
        for body in (
            {"input": "my private words"},
            {"input": ["my private words", 7]},
            {"input": "a", "model": "my private words"},
        ):
            post(f"{url}/v1/embeddings", content=json.dumps(body))
    ours = [record.getMessage() for record in caplog.records if record.name.startswith(("alignkit", "uvicorn"))]
    assert "private words" not in "\n".join(ours)
