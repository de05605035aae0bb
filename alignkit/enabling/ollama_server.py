"""What Ollama's API offers beyond embedding: a model's card, blobs, creating and deleting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np

from alignkit.embedders.remote.connection import KeyFromEnvironment
from alignkit.embedders.remote.unreachable import fault_of_error
from alignkit.errors import EmbedderError
from alignkit.servers.addresses import is_loopback, ollama_address
from alignkit.servers.certificates import trusted_by
from alignkit.servers.untrusted_words import one_line, words_of

CONNECT_TIMEOUT_S = 10.0
# the server may load a large model or hash gigabytes before it answers
ANSWER_TIMEOUT_S = 600.0
START_FIX = "is Ollama running there? Start it with `ollama serve`, or set base_url"


class RefusedError(EmbedderError):
    """The server answered with a refusal."""

    def __init__(self, status: int, words: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.words = words


class OllamaServer:
    """One server, with one request at a time.

    Args:
        base_url: as typed; None is the address that Ollama's own client would use.
        api_key_env: environment variable that holds a key, for a server behind a proxy.
        transport: replaces the network in tests.
    """

    def __init__(
        self, base_url: str | None = None, api_key_env: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        given = httpx.URL(ollama_address(base_url))
        url = given.copy_with(username=None, password=None)
        self.where = str(url).rstrip("/")
        self.is_local = is_loopback(url.host)
        in_url = httpx.BasicAuth(given.username, given.password) if given.username else None
        self._client = httpx.Client(
            base_url=url,
            auth=KeyFromEnvironment(api_key_env) if api_key_env else in_url,
            timeout=httpx.Timeout(ANSWER_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            trust_env=not self.is_local,
            verify=trusted_by(url),
            transport=transport,
        )

    def __enter__(self) -> OllamaServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def version(self) -> str:
        """Version as the server reports it; a local build reports 0.0.0."""
        return one_line(self._json("GET", "api/version").get("version", ""))

    def card(self, model: str) -> dict[str, Any] | None:
        """The answer of `/api/show` for a model; None if there is none of that name."""
        try:
            return self._json("POST", "api/show", {"model": model})
        except RefusedError as refusal:
            # a plain-text 404 means that the address is not Ollama's, not that a model is missing
            if refusal.status == 404 and "not found" in refusal.words and "page" not in refusal.words:
                return None
            raise

    def embed(self, model: str, texts: list[str]) -> np.ndarray:
        """Vectors `(len(texts), dim)` float32.

        Raises:
            RefusedError: if the server refuses.
            EmbedderError: if its answer does not contain vectors.
        """
        found = self._json("POST", "api/embed", {"model": model, "input": texts}).get("embeddings")
        try:
            vectors = np.array(found, dtype=np.float32)
        except (TypeError, ValueError):
            vectors = np.empty(0, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all() or not vectors.any():
            raise EmbedderError(f"{self.where} answered without usable vectors for {model}")
        return vectors

    def has_blob(self, digest: str) -> bool:
        """Whether the server already has a file."""
        return self._request("HEAD", f"api/blobs/sha256:{digest}").status_code == 200

    def send_blob(self, digest: str, chunks: Iterator[bytes], size: int) -> None:
        """Send a file, with at most one chunk in memory.

        Raises:
            EmbedderError: if the server does not accept it.
        """
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        response = self._request("POST", f"api/blobs/sha256:{digest}", content=chunks, headers=headers)
        if response.status_code not in (200, 201):
            raise self._refusal(response.status_code, response.content)

    def create(self, body: dict[str, Any]) -> None:
        """Create a model. The answer is a stream of lines, and an error is one of them, after status 200.

        Raises:
            EmbedderError: unless the last line reports success.
        """
        status = ""
        try:
            with self._client.stream("POST", "api/create", json=body) as response:
                if response.status_code != 200:
                    raise self._refusal(response.status_code, response.read())
                for line in response.iter_lines():
                    said = _line(line)
                    if "error" in said:
                        raise self._refusal(int(said.get("status", 200)), line.encode())
                    status = str(said.get("status", status))
        except httpx.RequestError as error:
            raise self._broken(error) from None
        if status != "success":
            raise EmbedderError(
                f"{self.where} did not finish making {body['model']} (its last word: {status or 'none'})"
            )

    def delete(self, model: str) -> None:
        """Remove a model's name and the files that no other model needs."""
        response = self._request("DELETE", "api/delete", json={"model": model})
        if response.status_code != 200:
            raise self._refusal(response.status_code, response.content)

    def _json(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        response = self._request(method, path, json=body)
        if response.status_code != 200:
            raise self._refusal(response.status_code, response.content)
        found = _line(response.text)
        if not found:
            raise EmbedderError(f"{self.where}/{path} does not answer as Ollama does; is base_url right?")
        return found

    def _request(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **more)
        except httpx.RequestError as error:
            raise self._broken(error) from None

    def _refusal(self, status: int, body: bytes) -> RefusedError:
        words = words_of(body)
        fix = f"; {self.where} is not an Ollama server, see base_url" if words == "404 page not found" else ""
        return RefusedError(status, words, f"{self.where} answered HTTP {status}: {words or 'no words'}{fix}")

    def _broken(self, error: httpx.RequestError) -> EmbedderError:
        fault = fault_of_error(error, self.where, ANSWER_TIMEOUT_S, answered=False, start_fix=START_FIX)
        if isinstance(fault, EmbedderError):
            return fault
        return EmbedderError(f"{self.where}: {fault}; see the server's log, then run the same command again")


def _line(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
