"""Where a Ray cluster is reached, and what is wrong with an address, in one line."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from alignkit.credentials import redacted
from alignkit.errors import AlignkitError, ConfigError, EngineError

ADDRESSES = ("local", "auto")
ANSWER_S = 10.0
# of HTTP/2, which gRPC speaks: whoever does answers with settings of its own
_SETTINGS = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS


def expect_address(address: str) -> None:
    """Refuse what can be no address.

    Raises:
        ConfigError: which names the forms.
    """
    if address not in ADDRESSES and _host_and_port(address) is None:
        raise ConfigError(f"engine.address={address}: expected local, auto, HOST:PORT or ray://HOST:PORT")


def expect_answer(address: str) -> None:
    """Refuse an address where no Ray answers: Ray itself would try for minutes, and log.

    Raises:
        EngineError: which says what is there instead.
    """
    place = _host_and_port(address)
    if place is None:
        return
    try:
        with socket.create_connection(place, timeout=ANSWER_S) as opened:
            if os.environ.get("RAY_USE_TLS", "0") != "0":
                return
            opened.sendall(_GREETING)
            answer = opened.recv(len(_SETTINGS))
        why = "" if answer[3:4] == _SETTINGS[3:4] else "what answers there is something else"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise EngineError(
            f"engine.address={address}: no Ray answers there ({why}); start one with ray start --head, or name another "
            "address"
        )


def refused(address: str, error: Exception) -> AlignkitError:
    """Why Ray takes no work, in one line."""
    said = " ".join(redacted(str(error)).split())
    if "ersion mismatch" in said:
        return EngineError(
            f"engine.address={address}: Ray or Python is of another version here than in the cluster ({said}); "
            "install the same here"
        )
    if isinstance(error, ConnectionError):
        return EngineError(f"engine.address={address}: no Ray can be reached ({said})")
    return EngineError(f"engine.address={address}: Ray does not start ({type(error).__name__}: {said})")


def _host_and_port(address: str) -> tuple[str, int] | None:
    try:
        found = urlsplit(address if address.startswith("ray://") else f"//{address}")
        return (found.hostname, found.port) if found.hostname and found.port else None
    except ValueError:
        return None
