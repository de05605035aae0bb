"""The process around the application: where it listens, who may reach it, how it ends."""

from __future__ import annotations

import asyncio
import importlib.util
import ipaddress
import logging
import os
import socket
import sys
from typing import TYPE_CHECKING

from alignkit.errors import ConfigError, MissingExtraError
from alignkit.serving.service import Service

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger(__name__)

# after the signal, busy clients learn with their next answer that the connection ends; then it is closed
DRAIN_S = 0.5
SWITCH_INTERVAL_S = 0.0005


def token_from_environment(variable: str | None) -> str | None:
    """The bearer token that an environment variable holds; None where no variable is named.

    Raises:
        ConfigError: if the variable is not set or empty.
    """
    if variable is None:
        return None
    token = os.environ.get(variable, "").strip()
    if not token:
        raise ConfigError(f"the environment variable {variable} is empty; set it to the token that clients must send")
    return token


def check_exposure(host: str, token: str | None, insecure: bool) -> None:
    """Refuse to open a server without a token to other machines.

    Raises:
        ConfigError: if `host` is no loopback address, there is no token, and `insecure` is false.
    """
    if token is None and not insecure and not _is_loopback(host):
        raise ConfigError(
            f"host={host} can be reached from other machines and no token is set; name an environment variable with "
            "token_env=…, listen on 127.0.0.1, or accept it with insecure=true"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def run(service: Service, host: str = "127.0.0.1", port: int = 8088, grace_s: float = 30.0) -> None:
    """Serve until SIGINT or SIGTERM, then finish what was taken.

    Args:
        service: what is served.
        host: address to listen on.
        port: 0 takes a free one.
        grace_s: longest wait for requests that run when the signal comes.

    Raises:
        ConfigError: if the port is taken or the address is not this machine's.
    """
    server = build_server(service, grace_s)
    listener = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    logger.info("serving '%s' (%d-d) at http://%s:%d", service.model, service.dim, shown, listener.getsockname()[1])
    # the thread that embeds and the loop that answers share one interpreter: at Python's own 5 ms each waits
    # for the other longer than the work takes
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    server.run(sockets=[listener])


def build_server(service: Service, grace_s: float = 30.0) -> uvicorn.Server:
    """The server of a service; `run(sockets=[…])` blocks, `should_exit = True` ends it.

    Raises:
        MissingExtraError: without uvicorn.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError("uvicorn", "serve") from None
    from alignkit.serving.app import create_app

    class GracefulServer(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            # uvicorn would close kept-alive connections at once, and a request just sent there would be lost
            for listener in self.servers:
                listener.close()
            service.draining = True
            await asyncio.sleep(DRAIN_S)
            await super().shutdown(sockets)

    return GracefulServer(
        uvicorn.Config(
            create_app(service),
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            ws="none",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=max(1, round(grace_s)),
            http="httptools" if importlib.util.find_spec("httptools") else "h11",
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """A socket that connections can be made to already.

    Raises:
        ConfigError: if the port is taken or the address is not this machine's.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"port={port}: expected 0 to 65535")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(f"cannot listen on {host}:{port} ({error}); choose another host= or port=") from None
