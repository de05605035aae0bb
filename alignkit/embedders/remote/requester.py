"""One batch through one server: as many attempts as it takes, then checked vectors or a fault that says what to do."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import numpy as np

from alignkit.embedders.remote.answers import check_rows
from alignkit.embedders.remote.connection import Connection, Wire
from alignkit.embedders.remote.faults import Backoff, GivenUpError, TextFault, TooLargeFault, TransientFault
from alignkit.errors import EmbedderError

logger = logging.getLogger(__name__)

PROBE_TEXT = "alignment"
# for what a server tells of itself, when it is asked in passing
BRIEF_TIMEOUT_S = 10.0

Result = TypeVar("Result")
# places of the good texts, their vectors, place -> reason for the others
Rows = tuple[np.ndarray, np.ndarray, dict[int, str]]


class Requester:
    """Requests of one engine, as coroutines of its loop.

    Args:
        connection: to the server; closed with this.
        wire: how the API is spoken.
        concurrency: requests at once.
        timeout_s: for an answer.
        first_timeout_s: for an answer as long as none has come.
        backoff: how often and how long to wait before sending again.
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
        self._connection = connection
        self._wire = wire
        self._requests = asyncio.Semaphore(concurrency)
        self._timeout_s = timeout_s
        self._first_timeout_s = max(first_timeout_s, timeout_s)
        self._backoff = backoff

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, patient: bool = True
    ) -> dict[str, Any]:
        """One request about the server or its model.

        Raises:
            TransientFault: the server does not answer now, and shall not be asked again.
        """
        if not patient:
            return await self._connection.ask(method, path, min(self._timeout_s, BRIEF_TIMEOUT_S), body)
        return await self._with_retries(lambda: self._connection.ask(method, path, self._timeout_s, body))

    async def vectors_of(self, texts: list[str]) -> Rows:
        """One batch's places, vectors and failures.

        Raises:
            TextFault: the server refuses the batch because of a text in it, or its answer fits no text.
            TooLargeFault: it refuses the size of the batch.
            EmbedderError: it fails whatever is sent.
        """
        form = self._wire.form
        try:
            return await self._with_retries(lambda: self._embed(texts))
        except TextFault:
            # another batch may have changed the form of the request while this one was on its way
            if self._wire.form == form and not self._wire.fall_back():
                raise
        try:
            return await self._with_retries(lambda: self._embed(texts))
        except TextFault:
            self._wire.form = form  # it was not the form
            raise

    async def prove(self, fault: TextFault | None = None) -> None:
        """See whether the server takes a harmless text; if not, `fault` is no text's.

        Raises:
            EmbedderError: if it does not.
        """
        try:
            _, _, failures = await self.vectors_of([PROBE_TEXT])
        except (TextFault, TooLargeFault) as refusal:
            raise EmbedderError(f"{self.where} gives no vector for any text: {refusal}") from None
        if failures:
            raise EmbedderError(f"{self.where} gives no usable vector for any text: {fault or failures[0]}")

    async def close(self) -> None:
        """Close the sockets."""
        await self._connection.close()

    async def _embed(self, texts: list[str]) -> Rows:
        async with self._requests:
            # the model is loaded once the first vectors have come
            timeout_s = self._first_timeout_s if self.dim is None else self._timeout_s
            answer = await self._connection.ask("POST", self._wire.path, timeout_s, self._wire.request(texts))
        rows = check_rows(self._wire.embeddings(answer), len(texts))
        if len(rows[1]):
            self._check_width(rows[1].shape[1])
        return rows

    def _check_width(self, width: int) -> None:
        if self.dim is None:
            self.dim = width
        if width != self.dim:
            raise EmbedderError(
                f"{self.where} gave {width}-d vectors after {self.dim}-d ones; was the model replaced while it ran? "
                f"Start again once it is settled"
            )

    async def _with_retries(self, request: Callable[[], Awaitable[Result]]) -> Result:
        failed = 0
        while True:
            try:
                return await request()
            except TransientFault as fault:
                failed += 1
                attempts = min(self._backoff.attempts, fault.attempts or self._backoff.attempts)
                if failed >= attempts:
                    raise self._given_up(fault, failed) from None
                wait_s = self._backoff.wait_s(failed, fault.wait_s)
                # not the server's own words, which may repeat the texts
                logger.info("%s: %s; again in %.1f s (%d of %d)", self.where, fault.brief, wait_s, failed + 1, attempts)
                await asyncio.sleep(wait_s)

    def _given_up(self, fault: TransientFault, attempts: int) -> Exception:
        if fault.attempts is not None:  # one text may be the cause
            return TextFault(str(fault))
        return GivenUpError(
            f"{self.where} failed {attempts} times in a row: {fault}; see the server's log, "
            f"or give it longer with timeout_s and less at once with batch_size and concurrency",
            fault.brief,
        )
