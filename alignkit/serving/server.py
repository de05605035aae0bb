"""The server process: where it listens, who may reach it, how it stops."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alignkit.credentials import from_environment
from alignkit.errors import ConfigError
from alignkit.extras import needing
from alignkit.serving.limits import MOST_CONNECTIONS, REFUSED_CONNECTIONS, RULES
from alignkit.serving.service import Service
from alignkit.setting_rules import check

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger(__name__)

# after the signal, a busy client's next answer announces that the connection will close
DRAIN_S = 0.5
SWITCH_INTERVAL_S = 0.0005
# a shell's code for Ctrl-C
INTERRUPTED_EXIT_CODE = 130
# files that a process opens besides its clients' connections: listener, model files, sockets to an upstream
OTHER_FILES = 128


def token_from_environment(variable: str | None) -> str | None:
    """The bearer token from an environment variable; None if no variable is named.

    Raises:
        ConfigError: if the variable is unset or empty.
    """
    return None if variable is None else from_environment("token_env", variable)


def check_exposure(host: str, token: str | None, insecure: bool) -> None:
    """Refuse to serve other machines without a token.

    Raises:
        ConfigError: if `host` is not a loopback address, there is no token, and `insecure` is false.
    """
    if token is None and not insecure and not _is_loopback(host):
        raise ConfigError(
            f"host={host} can be reached from other machines, and no token is set; name an environment variable with "
            "token_env=…, listen on 127.0.0.1, or accept it with insecure=true"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run(
    service: Service,
    host: str = "127.0.0.1",
    port: int = 8088,
    grace_s: float = 30.0,
    max_connections: int = MOST_CONNECTIONS,
) -> None:
    """Serve until SIGINT or SIGTERM, then finish the accepted requests.

    Args:
        service: what is served.
        host: address to listen on.
        port: 0 takes a free one.
        grace_s: longest wait for requests in progress when the signal comes.
        max_connections: open at once; a request on any further one gets 503.

    Raises:
        ConfigError: if the port is taken, the address is not this machine's, or a limit is invalid.
    """
    check({"grace_s": grace_s, "max_connections": max_connections}, RULES)
    make_room_for(max_connections)
    server = build_server(service, grace_s, max_connections)
    listener = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    where = f"http://{shown}:{listener.getsockname()[1]}"
    look = "" if service.page is None else " (try it there in a browser)"
    names = ", ".join(f"'{name}'" for name in service.names.all)
    logger.info("serving %s (%d-d) at %s%s", names, service.dim, where, look)
    # the embedding thread and the answering loop share one interpreter; at Python's default of 5 ms each waits
    # for the other longer than its work takes
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:
        if not service.busy:
            raise
        # Python cannot end a thread inside a library; a normal exit would abort the process
        logger.warning("interrupted while a model was still working; its call is abandoned")
        logging.shutdown()
        os._exit(INTERRUPTED_EXIT_CODE)


def use_one_thread() -> None:
    """Let NumPy multiply matrices in one thread, in this process.

    Products of a head after a table take a fraction of a millisecond, and threads that share one wait for each other by
    spinning: on two cores with other work, two threads cost 12 times as much processor time for 64 texts a request, and
    5 times for single texts from 32 connections.

    Raises:
        MissingExtraError: without threadpoolctl.
    """
    with needing("serve"):
        from threadpoolctl import threadpool_limits
    threadpool_limits(limits=1, user_api="blas")


def make_room_for(max_connections: int, platform: str = sys.platform) -> None:
    """Raise this process's limit of open files to what its clients may need.

    Raises:
        ConfigError: if the system does not allow so many.
    """
    if platform == "win32":
        if max_connections > MOST_CONNECTIONS:
            raise ConfigError(
                f"max_connections={max_connections}: expected at most {MOST_CONNECTIONS} on Windows, "
                "where Python can wait for no more than 512 sockets"
            )
        return
    import resource

    needed = max_connections + REFUSED_CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise ConfigError(
            f"max_connections={max_connections} needs {needed} open files, and this process may have {hard}; "
            "raise the limit with ulimit -n, or allow fewer connections"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def event_loop(platform: str = sys.platform) -> str:
    """Which event loop uvicorn should use.

    On Windows asyncio's own choice closes the listener at any error of `accept`, such as a client that reset its
    connection (https://github.com/python/cpython/issues/93821): the process would run on and hear nobody.
    """
    return "asyncio:SelectorEventLoop" if platform == "win32" else "auto"


def build_server(service: Service, grace_s: float = 30.0, max_connections: int = MOST_CONNECTIONS) -> uvicorn.Server:
    """The server of a service; `run(sockets=[…])` blocks, `should_exit = True` ends it.

    Raises:
        MissingExtraError: without uvicorn or httptools.
    """
    with needing("serve"):
        import uvicorn

        from alignkit.serving.protocol import bounded_protocol
    from alignkit.serving.app import create_app

    class GracefulServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            asyncio.get_running_loop().set_exception_handler(_report)
            service.listeners = sockets or []
            await super().startup(sockets)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            service.draining = True
            await self._take_who_is_connected(sockets or [])
            # uvicorn would close kept-alive connections at once and lose a request just sent on one
            await asyncio.sleep(DRAIN_S)
            await super().shutdown(sockets)

        async def _take_who_is_connected(self, sockets: list[socket.socket]) -> None:
            # the system accepts connections by itself and keeps them until they are asked for: closing the listener
            # would reset those, so a second handle of it is emptied after the loop has let go of the first
            waiting_rooms = [listener.dup() for listener in sockets if listener.fileno() >= 0]
            for room in waiting_rooms:
                room.listen(0)  # nobody else sits down: a busy server's clients would come as fast as they are taken
            for listener in self.servers:
                listener.close()
            for room in waiting_rooms:
                for client in clients_in(room):
                    client.setblocking(False)
                    await asyncio.get_running_loop().connect_accepted_socket(self._protocol, client)
                room.close()

        def _protocol(self) -> asyncio.Protocol:
            protocol_class: Any = self.config.http_protocol_class
            return protocol_class(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    return GracefulServer(
        uvicorn.Config(
            create_app(service),
            loop=event_loop(),
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(grace_s)),
            http=bounded_protocol(service.limits.body_timeout_s, max_connections),
        )
    )


def clients_in(room: socket.socket) -> Iterator[socket.socket]:
    """Clients connected to a listener but not yet accepted; one that has left does not hold up the others."""
    room.setblocking(False)
    while True:
        try:
            client, _ = room.accept()
        except ConnectionError:
            continue
        except OSError:  # BlockingIOError: no more clients
            return
        yield client


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # one line; asyncio would print a traceback for every client that resets its connection at a bad moment
    error = context.get("exception")
    what = str(context.get("message", "")).partition("(")[0].strip()
    logger.error("%s (%s); the server goes on", what, type(error).__name__ if error else "no exception")


def listen(host: str, port: int) -> socket.socket:
    """A socket that already accepts connections.

    Raises:
        ConfigError: if the port is taken or the address is not this machine's.
    """
    check({"port": port}, RULES)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error}); choose another host= or port=") from None
