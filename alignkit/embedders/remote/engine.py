"""Embeds many texts through one server: concurrently, in batches, with retries, dropping only texts at fault."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.embedders.remote.connection import Connection, Wire
from alignkit.embedders.remote.event_loop import POLL_S, BackgroundLoop
from alignkit.embedders.remote.halving import Batches
from alignkit.embedders.remote.requester import Requester
from alignkit.embedders.remote.server_faults import (
    Backoff,
    StatusError,
    TextFault,
    TooLargeFault,
    TransientFault,
)
from alignkit.errors import EmbedderError
from alignkit.setting_rules import check, number_above, whole

RULES = {"batch_size": whole(1), "timeout_s": number_above(0), "first_timeout_s": number_above(0)}


class HttpEngine:
    """The machinery under `OllamaEmbedder` and `OpenAIEmbedder`.

    Thread-safe; batches are yielded as they finish. A text that the server refuses is found by halving its batch. It
    becomes a failure with the server's reason, once the server has accepted a harmless text. Any fault that no text
    causes is raised as `EmbedderError`.

    Args:
        wire: the API's requests and answers.
        address: URL of the server.
        batch_size: maximum texts per request, ≥ 1.
        concurrency: simultaneous requests, ≥ 1.
        timeout_s: for an answer.
        first_timeout_s: for the first answer, while the server loads the model.
        backoff: how often to retry and how long to wait.
        api_key_env: environment variable with the key.
        transport: replaces the network in tests.
    """

    def __init__(
        self,
        wire: Wire,
        address: str,
        batch_size: int,
        concurrency: int,
        timeout_s: float,
        first_timeout_s: float,
        backoff: Backoff,
        api_key_env: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        check({"batch_size": batch_size, "timeout_s": timeout_s, "first_timeout_s": first_timeout_s}, RULES)
        connection = Connection(address, wire, concurrency, api_key_env, transport)
        self._connection = connection
        self._requester = Requester(connection, wire, concurrency, timeout_s, first_timeout_s, backoff)
        self._batches = Batches(self._requester, batch_size, concurrency)
        self._concurrency = concurrency
        self._loop: BackgroundLoop | None = None
        self._starting = threading.Lock()
        self._closed = False

    @property
    def where(self) -> str:
        """The server's URL, without credentials."""
        return self._requester.where

    @property
    def connections_made(self) -> int:
        """How many connections were opened so far: after a new one, the server may be a different one."""
        return self._connection.opened

    @property
    def broken(self) -> int:
        """How many connections broke or were reopened; while this is unchanged, the server was not restarted."""
        return self._connection.broken

    @property
    def dim(self) -> int:
        """Width of the vectors; the first call asks the server for one."""
        if self._requester.dim is None:
            self._background().run(self._requester.prove())
        if self._requester.dim is None:
            raise EmbedderError(f"{self.where} does not report the width of its vectors")
        return self._requester.dim

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, patient: bool = True) -> dict[str, Any]:
        """One request about the server or its model.

        Args:
            method: HTTP method.
            path: under the server's URL.
            body: of a POST.
            patient: retry if the server is busy or does not answer.

        Raises:
            EmbedderError: for any fault.
        """
        try:
            return self._background().run(self._requester.ask(method, path, body, patient))
        except (TextFault, TooLargeFault, TransientFault) as fault:
            raise EmbedderError(f"{self.where} answered {method} {path} with {fault}") from None

    def ask_if_there(self, path: str, patient: bool = True) -> dict[str, Any]:
        """A GET request that not every server of this kind supports; empty if this one does not.

        Raises:
            EmbedderError: if the server does not answer at all, or requires a key.
        """
        try:
            return self._background().run(self._requester.ask("GET", path, None, patient, suspects=False))
        except (TextFault, TooLargeFault):
            return {}
        except TransientFault as fault:
            raise EmbedderError(f"{self.where} answered GET {path} with {fault}") from None
        except StatusError as error:
            if error.status in (401, 403, 407):
                raise
            return {}

    def embed(
        self, texts: Sequence[str], positions: Sequence[int], one_by_one: bool = False
    ) -> Iterator[EmbeddedBatch]:
        """Yield the texts' vectors, in batches as they finish.

        Closing the generator early cancels requests in flight.

        Args:
            texts: to send; none is blank.
            positions: of each text, for the batches' `indices` and `failures`.
            one_by_one: send one request per text.

        Raises:
            EmbedderError: if no further batch can come; all finished batches were yielded before.
        """
        results: queue.SimpleQueue[EmbeddedBatch | BaseException | None] = queue.SimpleQueue()
        # finished batches not yet consumed count too, so a slow consumer throttles the requests
        window = asyncio.Semaphore(2 * self._concurrency)
        background = self._background()
        cancel = background.start(self._embed_into(results, window, texts, positions, one_by_one), on_end=results.put)
        ended = False
        try:
            while True:
                result = _take(results)
                if not isinstance(result, EmbeddedBatch):
                    ended = True
                    if result is not None:
                        raise _fatal_in(result)
                    return
                background.call(window.release)
                yield result
        finally:
            if not ended:
                cancel()
                while isinstance(_take(results), EmbeddedBatch):
                    pass

    def close(self) -> None:
        """Cancel running requests, close the sockets and stop the thread; may be called twice."""
        with self._starting:
            self._closed = True
            if self._loop is not None:
                self._loop.close(last=self._requester.close())
                self._loop = None

    def _background(self) -> BackgroundLoop:
        with self._starting:
            if self._closed:
                raise EmbedderError("the embedder is closed")
            if self._loop is None:
                self._loop = BackgroundLoop()
            return self._loop

    async def _embed_into(
        self,
        results: queue.SimpleQueue[EmbeddedBatch | BaseException | None],
        window: asyncio.Semaphore,
        texts: Sequence[str],
        positions: Sequence[int],
        one_by_one: bool,
    ) -> None:
        async def embed_one(start: int, stop: int) -> None:
            results.put(
                await self._batches.embed(list(texts[start:stop]), np.array(positions[start:stop], dtype=np.int64))
            )

        async with asyncio.TaskGroup() as group:
            start = 0
            while start < len(texts):
                await window.acquire()
                stop = start + 1 if one_by_one else self._batches.end_of_batch(texts, start)
                task = group.create_task(embed_one(start, stop))
                start = stop
                if self._requester.dim is None:
                    await task  # only one check whether the server returns vectors at all


def _take(results: queue.SimpleQueue[Any]) -> Any:
    while True:
        try:
            return results.get(timeout=POLL_S)
        except queue.Empty:
            continue


def _fatal_in(error: BaseException) -> BaseException:
    """The error to show the user: the first real error in a group, or that `close` cancelled the work."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, asyncio.CancelledError):
        return EmbedderError("the embedder was closed while it was embedding")
    return error
