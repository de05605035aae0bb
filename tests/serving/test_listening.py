"""The server stays reachable: errors of accept, too many clients, and a listener that is gone."""

import asyncio
import socket

import httpx
import pytest
import threadpoolctl
import uvicorn
from odd_students import OddStudent, odd_artifact
from test_connections import connect
from waiting import HANG_S, Client, get, until

from alignkit.aligned import AlignedEmbedder
from alignkit.errors import ConfigError
from alignkit.serving import protocol, server
from alignkit.serving.answers import Answerer
from alignkit.serving.limits import MOST_CONNECTIONS, REFUSED_CONNECTIONS
from alignkit.serving.service import Service

WINDOWS_SOCKETS = 512


@pytest.fixture
def odd_service():
    return Service(Answerer(AlignedEmbedder(odd_artifact(), OddStudent())))


@pytest.fixture
def loop_of_windows(monkeypatch):
    choice = server.event_loop("win32")
    monkeypatch.setattr(server, "event_loop", lambda: choice)


def test_windows_gets_the_loop_that_keeps_its_listener():
    factory = uvicorn.Config("unused:app", loop=server.event_loop("win32")).get_loop_factory()
    assert factory is asyncio.SelectorEventLoop
    assert MOST_CONNECTIONS + REFUSED_CONNECTIONS + 2 <= WINDOWS_SOCKETS


def test_products_after_a_table_use_one_thread():
    def threads():
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        before = threads()
        server.use_one_thread()
        # a processor with one core has no more anyway, and Apple's library is not known
        assert threads() <= {1} and before <= {1, 2}


@pytest.mark.parametrize("error", [ConnectionResetError, ConnectionAbortedError, OSError(64, "the network is gone")])
def test_errors_of_accept_end_nothing(error, loop_of_windows, odd_service, serve, monkeypatch, caplog):
    accept, raised = socket.socket.accept, []

    def failing(listener):
        connection = accept(listener)
        if len(raised) < 3:
            raised.append(1)
            connection[0].close()
            raise error
        return connection

    with serve(odd_service) as url:
        monkeypatch.setattr(socket.socket, "accept", failing)
        for _ in range(3):
            with pytest.raises(httpx.TransportError):
                get(f"{url}/health")
        assert get(f"{url}/health").status_code == 200
    assert len(raised) == 3
    assert not any(record.exc_info for record in caplog.records)


def test_who_left_before_the_end_costs_nobody_else_the_answer(monkeypatch):
    accept, calls = socket.socket.accept, []

    def failing(listener):
        calls.append(1)
        connection = accept(listener)
        if len(calls) == 2:
            connection[0].close()
            raise ConnectionResetError
        return connection

    with server.listen("127.0.0.1", 0) as room:
        waiting = [socket.create_connection(room.getsockname()) for _ in range(4)]
        monkeypatch.setattr(socket.socket, "accept", failing)
        found = list(server.clients_in(room))
        assert len(found) == 3
        for connection in (*waiting, *found):
            connection.close()


@pytest.mark.parametrize("platform", ["win32", "linux"])
def test_health_fails_where_nobody_listens_any_more(platform, odd_service, monkeypatch):
    choice = server.event_loop(platform)
    monkeypatch.setattr(server, "event_loop", lambda: choice)
    one, listener = server.build_server(odd_service, grace_s=1), server.listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def scenario():
        serving = asyncio.create_task(one.serve(sockets=[listener]))
        async with httpx.AsyncClient(base_url=url, timeout=HANG_S, verify=False) as client:
            while not one.started:
                await asyncio.sleep(0.01)
            assert (await client.get("/health")).status_code == 200
            # the kept-alive connection remains, as it does where an error takes the listener away
            one.servers[0].close()
            while (answer := await client.get("/health")).status_code == 200:
                await asyncio.sleep(0.01)
        one.should_exit = True
        await serving
        return answer

    with asyncio.Runner(loop_factory=one.config.get_loop_factory()) as runner:
        answer = runner.run(scenario())
    assert answer.status_code == 503
    assert "no longer accepts" in answer.json()["status"]


def test_far_too_many_clients_are_cut_off_and_the_others_stay(odd_service, serve, monkeypatch):
    monkeypatch.setattr(protocol, "REFUSED_TIMEOUT_S", HANG_S)
    with serve(odd_service, max_connections=4) as url, Client(base_url=url) as client:
        assert client.get("/health").status_code == 200
        crowd = [connect(url) for _ in range(4 + REFUSED_CONNECTIONS + 20)]
        until(lambda: sum(map(has_ended, crowd)) >= 20)
        assert client.post("/v1/embeddings", json={"input": "a"}).status_code == 200
        for connection in crowd:
            connection.close()


def has_ended(connection):
    connection.settimeout(0.01)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def test_more_connections_than_the_system_has():
    with pytest.raises(ConfigError, match=r"max_connections=449: expected at most 448 on Windows"):
        server.make_room_for(MOST_CONNECTIONS + 1, platform="win32")
    server.make_room_for(MOST_CONNECTIONS, platform="win32")


def test_more_connections_than_this_process_may_have(monkeypatch):
    resource = pytest.importorskip("resource")
    limits = [(256, 1024)]
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, pair: limits.append(pair))
    server.make_room_for(16, platform="linux")
    assert limits == [(256, 1024)]
    server.make_room_for(448, platform="linux")
    assert limits[-1] == (448 + REFUSED_CONNECTIONS + server.OTHER_FILES, 1024)
    with pytest.raises(ConfigError, match="needs 2160 open files, and this process may have 1024; raise the limit"):
        server.make_room_for(2000, platform="linux")
