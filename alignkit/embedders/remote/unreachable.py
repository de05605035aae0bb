"""Why a request got no answer at all, from httpx's exception."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator

import httpx

from alignkit.embedders.remote.server_faults import (
    GIVE_TIME,
    LOOK_AT_LOG,
    SUSPECT_ATTEMPTS,
    GoneFault,
    ServerError,
    SilentFault,
    TransientFault,
)
from alignkit.servers.untrusted_words import one_line

# the server's reply is not TLS, as OpenSSL reports it before and since 3.5
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
_BRIEFS: tuple[tuple[type[BaseException], str], ...] = (
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (socket.gaierror, "no such host"),
    (TimeoutError, "no connection"),
)


def fault_of_error(
    error: httpx.RequestError,
    where: str,
    timeout_s: float,
    answered: bool,
    start_fix: str,
    called: Callable[[str], str] = str,
) -> Exception:
    """What an exception of httpx means.

    Args:
        error: what was raised.
        where: the server's URL.
        timeout_s: for the answer.
        answered: whether the server has ever answered.
        start_fix: what the user can do if there is no server.
        called: what the user calls a setting.

    Returns:
        The fault to raise; a `ServerError` if no retry can help.
    """
    if isinstance(error, httpx.ProxyError):
        words = f"the proxy in between refuses it: {one_line(error)}"
        return ServerError(
            f"cannot reach {where}: {words}; name the host in NO_PROXY, or correct HTTP_PROXY and HTTPS_PROXY",
            "the proxy refuses",
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        if no_tls := _without_tls(error, where, called):
            return ServerError(f"cannot connect to {where}: {no_tls}", "no TLS")
        brief = brief_of(error)
        if answered:
            return GoneFault(brief)
        plain = "; a server of plain http may stay silent when asked for https" if where.startswith("https") else ""
        return ServerError(f"cannot connect to {where} ({brief}); {start_fix}{plain}", "cannot connect")
    if isinstance(error, httpx.TimeoutException):
        kind = TransientFault if isinstance(error, httpx.PoolTimeout) else SilentFault
        return kind(f"no answer within {timeout_s:g} s", mend=GIVE_TIME)
    if isinstance(error, httpx.RemoteProtocolError) and "illegal" in str(error):
        return ServerError(
            f"what listens at {where} does not speak HTTP ({one_line(error, 120)}); is the port right?", "no HTTP"
        )
    if isinstance(error, httpx.LocalProtocolError | httpx.UnsupportedProtocol):
        return ServerError(f"cannot ask {where}: {one_line(error)}", type(error).__name__)
    if isinstance(error, httpx.DecodingError):
        return TransientFault("an unreadable answer", one_line(error), attempts=SUSPECT_ATTEMPTS)
    doubt = "" if answered else "; does it want https://, or is the port right?"
    return TransientFault("connection broken", one_line(error), mend=f"{LOOK_AT_LOG}{doubt}")


def brief_of(error: BaseException) -> str:
    """Why there is no connection, in about 25 characters, the same on every system."""
    causes = list(_causes(error))
    for kind, brief in _BRIEFS:
        if any(isinstance(cause, kind) for cause in causes):
            return brief
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection"
    named = [cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror]
    return one_line(named[-1] if named else error, 40).lower()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes, the root cause last."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            yield from error.exceptions
        error = error.__cause__ or error.__context__


def _without_tls(error: BaseException, where: str, called: Callable[[str], str]) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return (
                f"its certificate is not trusted here ({one_line(cause.verify_message)}); put the one that signed it "
                "into a file and name that in the environment variable SSL_CERT_FILE"
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLWantReadError):  # timed out
            reason = str(cause.reason or cause).upper().replace(" ", "_")
            if any(known in reason for known in _NO_TLS):
                plain = where.replace("https://", "http://", 1)
                return f"the server speaks plain http there; set {called('base_url')}={plain}"
            return f"TLS fails ({one_line(cause.reason or cause, 60)}); does it speak https there?"
    return ""
