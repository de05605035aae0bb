"""One server: where it is, the key it wants, and requests whose faults are already sorted."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Generator, Mapping
from typing import Any, Protocol

import httpx
import orjson

from alignkit.embedders.remote.answers import parse_json
from alignkit.embedders.remote.faults import GivenUpError, StatusError, TransientFault, fault_of_status, message_of
from alignkit.errors import ConfigError, EmbedderError

CONNECT_TIMEOUT_S = 10.0


class Wire(Protocol):
    """How one API is spoken; the engine knows the rest."""

    path: str
    fixes: Mapping[int, str]
    start_fix: str
    form: str  # of the request: what `fall_back` changes

    def request(self, texts: list[str]) -> dict[str, Any]:
        """The JSON body that asks for the texts' vectors."""
        ...

    def embeddings(self, answer: dict[str, Any]) -> list[object]:
        """The embeddings in an answer, in the texts' order; `TextFault` where there are none."""
        ...

    def fall_back(self) -> bool:
        """After a refusal: is there a plainer form of the request to try? True once it is set."""
        ...


class KeyFromEnvironment(httpx.Auth):
    """Puts the key on each request, straight from the environment: no object here ever holds it."""

    def __init__(self, variable: str) -> None:
        self.variable = variable

    def key(self) -> str:
        """The key.

        Raises:
            EmbedderError: if the variable is not set or holds what no HTTP header can carry.
        """
        key = os.environ.get(self.variable, "").strip()
        if not key:
            raise EmbedderError(f"the environment variable {self.variable} is not set; it should hold the API key")
        if not key.isascii() or not key.isprintable():
            raise EmbedderError(f"the environment variable {self.variable} holds characters that no key can have")
        return key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """What httpx calls for each request."""
        request.headers["Authorization"] = f"Bearer {self.key()}"
        yield request


class Connection:
    """Requests to one server, as coroutines of one event loop.

    Args:
        base_url: `http://127.0.0.1:11434`.
        wire: gives what the user can do about a status.
        connections: most at once.
        api_key_env: environment variable that holds the key, if the server wants one.
        transport: instead of the network, for tests.
    """

    def __init__(
        self,
        base_url: str,
        wire: Wire,
        connections: int,
        api_key_env: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        given = _checked_url(base_url)
        # without the credentials, which else would stand in httpx' own log lines
        url = given.copy_with(username=None, password=None)
        self.where = str(url.copy_with(query=None)).rstrip("/")
        self.answered = False
        self._wire = wire
        self._auth = KeyFromEnvironment(api_key_env) if api_key_env else None
        self._secrets = [given.password] if given.password else []
        in_url = httpx.BasicAuth(given.username, given.password) if given.username else None
        self._client = httpx.AsyncClient(
            base_url=url,
            auth=self._auth or in_url,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # a proxy from the environment or the registry would take loopback traffic away
            trust_env=not _is_loopback(url.host),
            transport=transport,
        )

    async def ask(self, method: str, path: str, timeout_s: float, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request, one JSON object.

        Raises:
            TransientFault: the server is busy, slow or broke off.
            TextFault: it refuses the body's content.
            TooLargeFault: it refuses the body's size.
            EmbedderError: nothing that happens here can help; the message says what the user can do.
        """
        content = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        try:
            response = await self._client.request(method, path, content=content, headers=headers, timeout=timeout)
        except httpx.TimeoutException as error:
            raise TransientFault(f"no answer within {timeout_s:g} s ({type(error).__name__})") from None
        except httpx.ConnectError as error:
            if self.answered:
                raise TransientFault(f"cannot connect: {error}") from None
            message = f"cannot connect to {self.where} ({error}); {self._wire.start_fix}"
            raise GivenUpError(message, "cannot connect") from None
        except httpx.RequestError as error:
            broke = f"the connection broke ({type(error).__name__})"
            raise TransientFault(broke, self._redacted(str(error))) from None
        if response.status_code != 200:
            message = self._redacted(message_of(response.content))
            fault = fault_of_status(response.status_code, message, response.headers, self._wire.fixes)
            if isinstance(fault, StatusError):
                fault = StatusError(fault.status, f"{self.where} answered {fault}")
            raise fault
        answer = parse_json(response.content, response.headers.get("content-type", ""))
        self.answered = True
        return answer

    async def close(self) -> None:
        """Close the sockets."""
        await self._client.aclose()

    def _redacted(self, message: str) -> str:
        # servers like to repeat the key that they refuse
        secrets = [*self._secrets, os.environ.get(self._auth.variable, "").strip() if self._auth else ""]
        for secret in filter(None, secrets):
            message = message.replace(secret, "***")
        return message


def _checked_url(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url.strip().rstrip("/") + "/")
    except httpx.InvalidURL as error:
        raise ConfigError(f"base_url={base_url}: no URL ({error}); expected e.g. http://127.0.0.1:11434") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError(
            f"base_url={base_url}: expected http://HOST:PORT or https://HOST, e.g. http://127.0.0.1:11434"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
