"""Clients that send headers without end or not at all, that never read, or that are too many."""

import socket
import time

import httpx
import pytest
from odd_students import OddStudent, odd_artifact
from test_connections import RESET, connect, read_all, request_bytes

from alignkit.aligned import AlignedEmbedder
from alignkit.serving import service as service_module
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import Limits
from alignkit.serving.protocol import MOST_HEAD_BYTES
from alignkit.serving.service import Service

TIMEOUT_S = 0.5


@pytest.fixture
def odd_service():
    limits = Limits(body_timeout_s=TIMEOUT_S, max_texts=100_000)
    return Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent())), limits=limits, token="secret")


def send_until_refused(connection, piece, most):
    """How many bytes the server took, and its answer."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
            time.sleep(0.001)
    except OSError:
        pass
    try:
        return sent, read_all(connection)
    except ConnectionError:  # a reset overtakes the answer where the client goes on sending
        return sent, b""


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"GET /health HTTP/1.1\r\nhost: a\r\n", b"x-more: " + b"a" * 4000 + b"\r\n"),
        (b"GET /health HTTP/1.1\r\nx-one: ", b"a" * 4000),
        (b"GET /", b"a" * 4000),
        # after the headers of a request that was refused for its token: trailers
        (
            b"POST /v1/embeddings HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"x-more: " + b"a" * 4000 + b"\r\n",
        ),
    ],
)
def test_headers_are_bounded(start, piece, odd_service, serve):
    with serve(odd_service) as url:
        connection = connect(url)
        connection.sendall(start)
        sent, answer = send_until_refused(connection, piece, 100 * MOST_HEAD_BYTES)
        connection.close()
        # what the sockets hold on both sides is taken too
        assert sent < 90 * MOST_HEAD_BYTES
        assert answer == b"" or answer.startswith((b"HTTP/1.1 431", b"HTTP/1.1 401"))
        assert httpx.get(f"{url}/health").status_code == 200


def test_large_headers_are_431_in_the_envelope(odd_service, serve):
    with serve(odd_service) as url:
        connection = connect(url)
        connection.sendall(b"GET /health HTTP/1.1\r\nx-large: ")
        time.sleep(0.1)
        connection.sendall(b"a" * (MOST_HEAD_BYTES + 1))
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 431")
        assert b'{"error":{"message":"the headers are larger than 65536 bytes' in answer
        connection.close()


def test_a_body_is_no_header(odd_service, serve):
    with serve(odd_service) as url:
        asked = {"input": ["a" * 1000] * 500}
        headers = {"authorization": "Bearer secret"}
        assert httpx.post(f"{url}/v1/embeddings", json=asked, headers=headers).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /health HT", b"GET /health HTTP/1.1\r\nhost: a\r\n"])
def test_headers_that_do_not_come_end_the_connection(sent, odd_service, serve):
    with serve(odd_service) as url:
        connection = connect(url)
        connection.sendall(sent)
        started = time.monotonic()
        answer = read_all(connection)
        assert TIMEOUT_S / 2 < time.monotonic() - started < 5
        assert answer.startswith(b"HTTP/1.1 408") if sent.startswith(b"GET") else answer == b""
        connection.close()


def test_headers_that_drip_are_no_exception(odd_service, serve):
    with serve(odd_service) as url:
        connection = connect(url)
        connection.settimeout(0.1)
        started = time.monotonic()
        answer = None
        for byte in b"GET /health HTTP/1.1\r\n" + b"x-a: b\r\n" * 20:
            try:
                connection.sendall(bytes([byte]))
                answer = connection.recv(100)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")
        assert time.monotonic() - started < 5
        connection.close()


def test_a_kept_alive_connection_may_rest_longer(odd_service, serve):
    with serve(odd_service) as url, httpx.Client(base_url=url) as client:
        for _ in range(2):
            assert client.get("/health").status_code == 200
            time.sleep(2 * TIMEOUT_S)
        connection = connect(url)
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")
        time.sleep(2 * TIMEOUT_S)
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")
        connection.close()


def test_who_takes_nothing_of_a_large_answer_is_cut_off(serve):
    artifact = odd_artifact()
    limits = Limits(body_timeout_s=TIMEOUT_S, max_texts=200_000)
    service = Service(Answerer(AlignedEmbedder(artifact, OddStudent())), limits=limits)
    with serve(service) as url:
        texts = b'["' + b'","'.join([b"a"] * 100_000) + b'"]'  # 13 MB of answer
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        connection.sendall(request_bytes(b'{"input": ' + texts + b"}"))
        # never read: the server drops the connection with what is left to send
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                connection.sendall(b"\r\n")
            except ConnectionError:
                break
            time.sleep(0.1)
        assert time.monotonic() < deadline
        connection.close()


def test_who_reads_slowly_is_waited_for(serve):
    limits = Limits(body_timeout_s=TIMEOUT_S, max_texts=200_000)
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent())), limits=limits)
    with serve(service) as url:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 400_000)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        connection.sendall(request_bytes(b'{"input": ["' + b'","'.join([b"a"] * 60_000) + b'"]}'))
        received, started = [], time.monotonic()
        for _ in range(15):
            time.sleep(0.15)
            received.append(connection.recv(400_000))
        assert time.monotonic() - started > 4 * TIMEOUT_S
        received.append(read_all_of(connection, b"".join(received)))
        assert b"".join(received).endswith(b"}")
        connection.close()


def read_all_of(connection, start):
    head, _, body = start.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    more = b""
    while len(body) + len(more) < length:
        chunk = connection.recv(1 << 20)
        assert chunk
        more += chunk
    return more


def test_clients_past_the_limit_get_503(serve):
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent())))
    with serve(service, max_connections=3) as url:
        idle = [connect(url) for _ in range(3)]
        time.sleep(0.1)
        refused = httpx.post(f"{url}/v1/embeddings", json={"input": "a"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        idle.pop().close()
        time.sleep(0.1)
        assert httpx.post(f"{url}/v1/embeddings", json={"input": "a"}).status_code == 200
        for connection in idle:
            connection.close()


def test_requests_one_after_the_other_whose_client_has_gone_leave_no_trace(serve, caplog):
    student = OddStudent(delay_s=0.2)
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), student)))
    with serve(service) as url:
        connection = connect(url)
        connection.sendall(request_bytes(b'{"input": "a"}') * 3)
        time.sleep(0.1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
        time.sleep(0.5)
        assert httpx.get(f"{url}/health").status_code == 200
    assert "Exception" not in caplog.text


def test_many_large_bodies_at_once_are_bounded_together(serve, monkeypatch):
    monkeypatch.setattr(service_module, "MOST_LARGE_BODIES", 3)
    limits = Limits(max_body_bytes=10_000, body_timeout_s=5)
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent())), limits=limits)
    body = b'{"input": "' + b"a" * 8_000 + b'"}'
    with serve(service) as url:
        slow = [connect(url) for _ in range(4)]
        for connection in slow:
            connection.sendall(request_bytes(body[:-1], length=len(body)))
            time.sleep(0.05)
        # the first three are held, the fourth is told at once
        answer = read_all(slow[3])
        assert answer.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 1" in answer
        assert b"holds as many texts as it can" in answer
        for connection in slow[:3]:
            connection.sendall(body[-1:])
            assert read_all(connection).startswith(b"HTTP/1.1 200")
            connection.close()
        assert service.bodies.bytes == 0
        # one that goes away with its body half sent is forgotten too
        gone = connect(url)
        gone.sendall(request_bytes(body[:-1], length=len(body)))
        time.sleep(0.05)
        gone.close()
        slow[3].close()
        assert httpx.post(f"{url}/v1/embeddings", content=body).status_code == 200
    assert service.bodies.bytes == 0
