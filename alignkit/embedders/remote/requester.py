"""Sends one batch to one server, with retries; returns checked vectors or raises a fault that says what to do."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np

from alignkit.embedders.remote.connection import Connection, Wire
from alignkit.embedders.remote.embedding_answers import check_rows
from alignkit.embedders.remote.retries import Retries
from alignkit.embedders.remote.server_faults import (
    Backoff,
    GoneFault,
    ServerError,
    ShapeFault,
    SilentFault,
    TextFault,
    TooLargeFault,
    TransientFault,
)
from alignkit.embedders.rows import UNLIKE_TEXTS, all_alike
from alignkit.errors import EmbedderError

PROBE_TEXT = "alignment"
# for optional questions about the server itself
BRIEF_TIMEOUT_S = 10.0
# servers answer questions about themselves and their model at once, even while the model computes
ASK_TIMEOUT_S = 30.0
ASK_ATTEMPTS = 2

# positions of the valid texts, their vectors, position -> reason for the others
Rows = tuple[np.ndarray, np.ndarray, dict[int, str]]


class Requester:
    """Requests of one engine, as coroutines of its loop.

    Args:
        connection: to the server; closed with this object.
        wire: the API's requests and answers.
        concurrency: simultaneous requests.
        timeout_s: for an answer.
        first_timeout_s: for an answer until the first one has come.
        backoff: how often to retry and how long to wait.
    """

    def __init__(
        self,
        connection: Connection,
        wire: Wire,
        concurrency: int,
        timeout_s: float,
        first_timeout_s: float,
        backoff: Backoff,
    ) -> None:
        self.where = connection.where
        self.dim: int | None = None
        self.called = connection.called
        self._connection = connection
        self._wire = wire
        self._requests = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._first_timeout_s = max(first_timeout_s, timeout_s)
        self._retries = Retries(connection, wire.restart, self._first_timeout_s, backoff)
        self._hangs = False
        self._last: tuple[str, np.ndarray] | None = None  # the last text that was sent alone, and its vector

    async def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        patient: bool = True,
        suspects: bool = True,
    ) -> dict[str, Any]:
        """One request about the server or its model.

        Args:
            method: GET or POST.
            path: under the server's address.
            body: of a POST.
            patient: retry if the server is busy or does not answer.
            suspects: also retry after faults that the request itself may cause; many servers do not support it.

        Raises:
            TransientFault: without `patient`, if the server does not answer now.
        """
        brief_s = min(self._timeout_s, BRIEF_TIMEOUT_S)
        try:
            if patient and not self._hangs:
                timeout_s = min(self._timeout_s, ASK_TIMEOUT_S)
                found = await self._retries.result_of(
                    lambda: self._connection.ask(method, path, timeout_s, body), ASK_ATTEMPTS, suspects
                )
            else:
                found = await self._connection.ask(method, path, brief_s, body)
        except GoneFault as fault:
            raise self._retries.given_up(fault, 1) from None
        except SilentFault:
            if patient:
                raise self._hung(path) from None
            raise
        self._hangs = False
        return found

    async def vectors_of(self, texts: list[str]) -> Rows:
        """One batch's positions, vectors and failures.

        Raises:
            TextFault: the server refuses the batch because of a text in it, or its answer is unusable.
            TooLargeFault: it refuses the size of the batch.
            EmbedderError: it fails whatever is sent.
        """
        rows = await self._in_either_form(texts)
        if self._is_suspiciously_alike(texts, rows):
            await self._tell_apart()
        return rows

    async def prove(self) -> None:
        """Check that the server embeds a harmless text; if it does not, no text was at fault.

        Raises:
            EmbedderError: if it does not.
        """
        try:
            await self._in_either_form([PROBE_TEXT])
        except (TextFault, TooLargeFault) as refusal:
            mend = self._wire.address_fix(self.where) if isinstance(refusal, ShapeFault) else ""
            mend = mend or self.called.in_words(getattr(refusal, "mend", ""))
            words = f"{self.where} gives no usable vector for any text: {refusal}{mend and '; '}{mend}"
            raise ServerError(words, f"{refusal.brief} for any text") from None

    async def close(self) -> None:
        """Close the sockets."""
        await self._connection.close()

    async def _in_either_form(self, texts: list[str]) -> Rows:
        form = self._wire.form
        try:
            return await self._retries.result_of(lambda: self._embed(texts))
        except TextFault:
            # another batch may have changed the form of the request while this one was in flight
            if self._wire.form == form and not self._wire.fall_back():
                raise
        try:
            return await self._retries.result_of(lambda: self._embed(texts))
        except TextFault:
            self._wire.form = form  # the form was not the cause
            raise

    async def _embed(self, texts: list[str]) -> Rows:
        async with self._requests:
            # the model is loaded once the first vectors have come
            timeout_s = self._first_timeout_s if self.dim is None else self._timeout_s
            if self._connection.answered_at is None:
                await self._check_life()
            try:
                answer = await self._connection.ask("POST", self._wire.path, timeout_s, self._wire.request(texts))
            except SilentFault:
                await self._check_life()
                raise
        try:
            rows = check_rows(self._wire.embeddings(answer, texts), len(texts))
        except ServerError as error:
            raise ServerError(f"{self.where}: {self.called.in_words(str(error))}", error.brief) from None
        self._check_width(rows[1].shape[1])
        return rows

    async def _check_life(self) -> None:
        """Check that the server answers at all: if it hangs, every attempt would wait for its full timeout.

        Called while a request holds its slot, so a connection is free for it.

        Raises:
            ServerError: if it accepts connections but never answers.
        """
        page = self._wire.sign_of_life
        for _ in range(1 if self._hangs else ASK_ATTEMPTS):
            try:
                await self._connection.ask("GET", page, min(self._timeout_s, BRIEF_TIMEOUT_S))
            except SilentFault:
                continue
            except (TextFault, TooLargeFault, TransientFault, EmbedderError):
                pass  # it answered, or the request itself will report the fault better
            return
        raise self._hung(page)

    def _hung(self, page: str) -> ServerError:
        self._hangs = True
        return ServerError(
            f"the server at {self.where} accepts connections but answers nothing, not even GET {page}: it hangs; "
            f"stop it and {self._wire.restart}",
            "the server hangs",
        )

    def _check_width(self, width: int) -> None:
        asked = self._wire.dimensions
        if asked not in (None, width):
            dimensions = self.called("dimensions")
            raise EmbedderError(
                f"{self.where} gives {width}-d vectors, expected {dimensions}={asked}; leave {dimensions} unset for "
                f"this model{f', or ask for fewer than {width}' if asked > width else ''}"
            )
        if self.dim is None:
            self.dim = width
        if width != self.dim:
            raise ServerError(
                f"{self.where} gave {width}-d vectors after {self.dim}-d ones; was the model replaced while it ran? "
                "Start again when nobody is changing it",
                "another width",
            )

    def _is_suspiciously_alike(self, texts: list[str], rows: Rows) -> bool:
        """Whether different texts got the same vector, within one answer or, if texts go one by one, across two."""
        if len(texts) > 1:
            return len(rows[1]) > 1 and len(set(texts)) > 1 and all_alike(rows[1])
        before, self._last = self._last, (texts[0], rows[1][0])
        return before is not None and before[0] != texts[0] and all_alike(np.stack([before[1], rows[1][0]]))

    async def _tell_apart(self) -> None:
        """Check that the server gives two very different texts different vectors: similar texts may well share one.

        Raises:
            EmbedderError: if it does not.
        """
        try:
            vectors = [(await self._in_either_form([text]))[1] for text in UNLIKE_TEXTS]
        except (TextFault, TooLargeFault) as refusal:
            raise ServerError(f"{self.where} refuses a harmless text: {refusal}", refusal.brief) from None
        if all_alike(np.concatenate(vectors)):
            raise ServerError(
                f"{self.where} gives every text the same vector, so none is kept; is it an embedding model, and is "
                "it loaded correctly?",
                "one vector for every text",
            )
