"""Clients that send headers without end or not at all, that never read, or that are too many."""

import socket
import threading
import time

import pytest
from odd_students import OddStudent, closed_gate, odd_artifact
from test_connections import RESET, connect, read_all, request_bytes
from waiting import HANG_S, get, post, until

from alignkit.aligned import AlignedEmbedder
from alignkit.serving import protocol as protocol_module
from alignkit.serving import service as service_module
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import Limits
from alignkit.serving.protocol import MOST_HEAD_BYTES, BoundedProtocol
from alignkit.serving.service import Service

TIMEOUT_S = 0.5


def service_with(token=None, **limits):
    return Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent())), limits=Limits(**limits), token=token)


@pytest.fixture
def odd_service():
    """Waits for headers longer than a busy machine may keep a client from sending them."""
    return service_with(token="secret", body_timeout_s=HANG_S)


@pytest.fixture
def impatient_service():
    return service_with(body_timeout_s=TIMEOUT_S)


def send_until_refused(connection, piece, most):
    """How many bytes the server took, and its answer."""
    sent = 0
    try:
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
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
        assert get(f"{url}/health").status_code == 200


def test_large_headers_are_431_in_the_envelope(odd_service, serve, monkeypatch):
    begun, begin = threading.Event(), BoundedProtocol.on_message_begin
    monkeypatch.setattr(BoundedProtocol, "on_message_begin", lambda self: (begin(self), begun.set()))
    with serve(odd_service) as url:
        connection = connect(url)
        connection.sendall(b"GET /health HTTP/1.1\r\nx-large: ")
        assert begun.wait(HANG_S)
        connection.sendall(b"a" * (MOST_HEAD_BYTES + 1))
        answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 431")
        assert b'{"error":{"message":"the headers are larger than 65536 bytes' in answer
        connection.close()


def test_a_body_is_no_header(odd_service, serve):
    with serve(odd_service) as url:
        asked = {"input": ["a" * 1000] * 500}
        headers = {"authorization": "Bearer secret"}
        assert post(f"{url}/v1/embeddings", json=asked, headers=headers).status_code == 200


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"GET /health HT", b"GET /health HTTP/1.1\r\nhost: a\r\n"])
def test_headers_that_do_not_come_end_the_connection(sent, impatient_service, serve):
    with serve(impatient_service) as url:
        started = time.monotonic()
        connection = connect(url)
        connection.sendall(sent)
        answer = read_all(connection)
        assert time.monotonic() - started > 0.8 * TIMEOUT_S
        assert answer.startswith(b"HTTP/1.1 408") if sent.startswith(b"GET") else answer == b""
        connection.close()


def test_headers_that_drip_are_no_exception(impatient_service, serve):
    with serve(impatient_service) as url:
        connection = connect(url)
        connection.sendall(b"GET /health HTTP/1.1\r\n")
        connection.settimeout(0.05)
        answer, deadline = None, time.monotonic() + HANG_S
        while answer is None and time.monotonic() < deadline:
            try:
                connection.sendall(b"x")  # a header without an end
                answer = connection.recv(100)
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")
        connection.close()


def test_a_kept_alive_connection_may_rest_longer(impatient_service, serve):
    with serve(impatient_service) as url:
        connection = connect(url)
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")
        time.sleep(2 * TIMEOUT_S)
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")
        connection.close()


def ask_for_much(url, texts, takes):
    """A request whose answer has 130 bytes a text, by a client whose system keeps some `takes` bytes of it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
    connection.settimeout(HANG_S)
    connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
    connection.sendall(request_bytes(b'{"input": ["' + b'","'.join([b"a"] * texts) + b'"]}'))
    return connection


def test_who_takes_nothing_of_a_large_answer_is_cut_off(serve, monkeypatch):
    monkeypatch.setattr(protocol_module, "DRAIN_TIMES", TIMEOUT_S / HANG_S)
    with serve(service_with(body_timeout_s=HANG_S, max_texts=200_000)) as url:
        connection = ask_for_much(url, 100_000, takes=4096)
        # never read: the server drops the connection with what is left to send
        until(lambda: is_cut_off(connection))
        connection.close()


def is_cut_off(connection):
    try:
        connection.sendall(b"\r\n")
    except ConnectionError:
        return True
    return False


def test_who_reads_slowly_is_waited_for(serve, monkeypatch):
    drain_s = 3.0  # a busy machine may keep the client from reading for a good part of that
    monkeypatch.setattr(protocol_module, "DRAIN_TIMES", drain_s / HANG_S)
    with serve(service_with(body_timeout_s=HANG_S, max_texts=200_000)) as url:
        connection = ask_for_much(url, 60_000, takes=400_000)
        received, started = [], time.monotonic()
        while time.monotonic() - started < 1.3 * drain_s:
            time.sleep(0.15)
            received.append(connection.recv(250_000))
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
    with serve(service_with(body_timeout_s=HANG_S), max_connections=3) as url:
        idle = [connect(url) for _ in range(3)]
        # they are taken in the order in which they came
        refused = post(f"{url}/v1/embeddings", json={"input": "a"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
        assert refused.headers["retry-after"] == "1"
        idle.pop().close()
        until(lambda: post(f"{url}/v1/embeddings", json={"input": "a"}).status_code == 200)
        for connection in idle:
            connection.close()


def test_requests_one_after_the_other_whose_client_has_gone_leave_no_trace(serve, caplog):
    gate = closed_gate()
    gate.set()
    student = OddStudent(gate=gate)
    service = Service(Answerer(AlignedEmbedder(odd_artifact(), student)))
    with serve(service) as url:
        gate.clear()
        connection = connect(url)
        connection.sendall(request_bytes(b'{"input": "a"}') * 3)
        until(lambda: student.calls[-1] == ["a"])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        connection.close()
        gate.set()
        until(lambda: not service.busy)
        assert get(f"{url}/health").status_code == 200
    assert "Exception" not in caplog.text


def test_many_large_bodies_at_once_are_bounded_together(serve, monkeypatch):
    monkeypatch.setattr(service_module, "MOST_LARGE_BODIES", 3)
    service = service_with(max_body_bytes=10_000, body_timeout_s=HANG_S)
    body = b'{"input": "' + b"a" * 8_000 + b'"}'
    with serve(service) as url:
        slow = [connect(url) for _ in range(4)]
        for place, connection in enumerate(slow):
            connection.sendall(request_bytes(body[:-1], length=len(body)))
            until(lambda: service.bodies.bytes == min(place + 1, 3) * len(body[:-1]))  # noqa: B023
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
        until(lambda: service.bodies.bytes)
        gone.close()
        slow[3].close()
        assert post(f"{url}/v1/embeddings", content=body).status_code == 200
        until(lambda: service.bodies.bytes == 0)
