"""One server: its address, its key, and requests whose faults are already classified."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator, Mapping
from typing import Any, Protocol

import httpx
import orjson

from alignkit.credentials import check_variable_name
from alignkit.embedders.remote.embedding_answers import parse_json
from alignkit.embedders.remote.server_faults import StatusError
from alignkit.embedders.remote.statuses import fault_in_answer, fault_of_status
from alignkit.embedders.remote.unreachable import fault_of_error
from alignkit.errors import ConfigError, EmbedderError
from alignkit.servers.addresses import is_loopback
from alignkit.servers.certificates import trusted_by
from alignkit.servers.untrusted_words import words_of
from alignkit.setting_names import SettingNames
from alignkit.setting_rules import check, whole

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
MOST_REDIRECTS = 3


class Speech(Protocol):
    """What to tell the user when a server of a given API does not answer."""

    path: str
    fixes: Mapping[int, str]
    start_fix: str

    def address_fix(self, where: str) -> str:
        """What the user can do if the server at `where` does not speak this API."""
        ...


class Wire(Speech, Protocol):
    """The requests and answers of one API; the engine does the rest."""

    dimensions: int | None  # as requested
    restart: str  # how to start a server that has stopped
    sign_of_life: str  # path of a page that such a server returns at once, even while its model computes
    form: str  # form of the request, which `fall_back` changes

    def request(self, texts: list[str]) -> dict[str, Any]:
        """The JSON body that asks for the texts' vectors."""
        ...

    def embeddings(self, answer: dict[str, Any], texts: list[str]) -> list[object]:
        """The embeddings in an answer, in the order of the texts sent; `TextFault` if there are none."""
        ...

    def fall_back(self) -> bool:
        """After a refusal, switch to a plainer form of the request; False if there is none."""
        ...


class KeyFromEnvironment(httpx.Auth):
    """Adds the key to each request, read from the environment each time: no object here holds it."""

    def __init__(self, variable: str) -> None:
        check_variable_name(SettingNames()("api_key_env"), variable)  # users sometimes give the key itself
        self.variable = variable

    def key(self) -> str:
        """The key.

        Raises:
            EmbedderError: if the variable is not set, or its value cannot be sent in an HTTP header.
        """
        key = os.environ.get(self.variable, "").strip()
        if not key:
            raise EmbedderError(f"the environment variable {self.variable} is not set; it should hold the API key")
        if not key.isascii() or not key.isprintable():
            raise EmbedderError(f"the environment variable {self.variable} holds characters that no key can have")
        return key

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Called by httpx for each request."""
        request.headers["Authorization"] = f"Bearer {self.key()}"
        yield request


class Connection:
    """Requests to one server, as coroutines of one event loop.

    Args:
        address: a URL, from `alignkit.servers.addresses`.
        wire: says what the user can do about a status.
        connections: maximum number at once.
        api_key_env: environment variable that holds the key, if the server wants one.
        transport: replaces the network in tests.

    Attributes:
        called: what the user calls the settings.
        answered_at: time of the server's last answer, by the monotonic clock.
    """

    def __init__(
        self,
        address: str,
        wire: Speech,
        connections: int,
        api_key_env: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.called = SettingNames()
        check({"concurrency": connections}, {"concurrency": whole(1)})
        try:
            given = httpx.URL(address)
        except httpx.InvalidURL as error:
            raise ConfigError(
                f"{self.called('base_url')}: not a URL ({error}); expected e.g. http://127.0.0.1:11434"
            ) from None
        # without credentials, which would otherwise appear in httpx's log lines
        url = given.copy_with(username=None, password=None, query=None)
        self.where = str(url).rstrip("/")
        self.host = url.netloc.decode("ascii")
        self.answered_at: float | None = None
        self._moved = False
        self._connections = connections
        self._lost = 0
        self._wire = wire
        self._auth = KeyFromEnvironment(api_key_env) if api_key_env else None
        self._secrets = [given.password] if given.password else []
        in_url = httpx.BasicAuth(given.username, given.password) if given.username else None
        self._client = httpx.AsyncClient(
            base_url=url,
            params=given.params,
            auth=self._auth or in_url,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            # a proxy set in the environment or the registry would divert loopback traffic
            trust_env=not is_loopback(url.host),
            verify=trusted_by(url),
            transport=transport,
        )
        self.opened = 0  # connections opened so far; a new one may reach a different server
        self._client.event_hooks = {"request": [self._follow]}

    async def ask(self, method: str, path: str, timeout_s: float, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request, one JSON object.

        Raises:
            TransientFault: the server is busy or slow, or the connection broke.
            TextFault: the server refuses the body's content.
            TooLargeFault: the server refuses the body's size.
            EmbedderError: the fault cannot be handled here; the message says what the user can do.
        """
        content = None if body is None else orjson.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S))
        request = self._client.build_request(method, path, content=content, headers=headers, timeout=timeout)
        try:
            response = await self._send(request)
        except httpx.RequestError as error:
            self._lost += 1
            answered = self.answered_at is not None
            fault = fault_of_error(error, self.where, timeout_s, answered, self._wire.start_fix, self.called)
            raise fault from None
        address_fix = self._wire.address_fix(self.where)
        if response.has_redirect_location:
            raise self._redirected(response)
        kind = response.headers.get("content-type", "")
        if response.status_code != 200:
            words = words_of(self._redacted(response.content))
            fault = fault_of_status(
                response.status_code, words, response.headers, self._wire.fixes, address_fix, self.called
            )
            raise self._placed(fault)
        answer = parse_json(response.content, kind)
        if answer.get("error"):
            refused = parse_json(self._redacted(response.content), kind)
            raise self._placed(fault_in_answer(refused, self._wire.fixes, address_fix, self.called))
        self.answered_at = time.monotonic()
        return answer

    async def _follow(self, request: httpx.Request) -> None:
        request.extensions["trace"] = self._note_opened

    async def _note_opened(self, event: str, info: Mapping[str, Any]) -> None:
        self.opened += event == "connection.connect_tcp.complete"

    @property
    def broken(self) -> int:
        """How many connections broke or were reopened; while this is unchanged, the server was not restarted."""
        return self._lost + max(0, self.opened - self._connections)

    async def close(self) -> None:
        """Close the sockets."""
        await self._client.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        """Send, and follow redirects of the same request on the same server (usually for a trailing slash)."""
        for _ in range(MOST_REDIRECTS):
            response = await self._client.send(request)
            moved = response.next_request if response.status_code in (307, 308) else None
            if moved is None or (moved.url.scheme, moved.url.netloc) != (request.url.scheme, request.url.netloc):
                return response
            if not self._moved:
                self._moved = True
                logger.info("%s sends requests on to %s; following", self.host, moved.url.path)
            request = moved
        return await self._client.send(request)

    def _redirected(self, response: httpx.Response) -> StatusError:
        status, target = response.status_code, response.next_request
        if target is None:
            return StatusError(status, f"{self.where} answered HTTP {status}, a redirect to no address")
        # a query may contain secrets
        to = str(target.url.copy_with(query=None, fragment=None, username=None, password=None))
        base = to.rstrip("/").removesuffix(f"/{self._wire.path}")
        known = base != to.rstrip("/") and base != self.where
        fix = f"set {self.called('base_url')}{f'={base}' if known else ' to what answers'}"
        return StatusError(status, f"{self.where} answered HTTP {status} and sends requests on to {to}; {fix}")

    def _placed(self, fault: Exception) -> Exception:
        if isinstance(fault, StatusError):
            return StatusError(fault.status, f"{self.where} answered {fault}")
        return fault

    def _redacted(self, body: bytes) -> bytes:
        # servers often repeat the key they refuse; mask it before truncating, or half of it would remain
        secrets = [*self._secrets, os.environ.get(self._auth.variable, "").strip() if self._auth else ""]
        for secret in filter(None, secrets):
            body = body.replace(secret.encode("utf-8", errors="replace"), b"***")
        return body
