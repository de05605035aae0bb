"""Finds the text at fault: a refused batch is halved, and no text is blamed until the server is known to work."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from alignkit.embedders.base import EmbeddedBatch
from alignkit.embedders.remote.requester import Requester
from alignkit.embedders.remote.server_faults import MisfitFault, ServerError, TextFault, TooLargeFault

logger = logging.getLogger(__name__)

# hosts refuse bodies of more than a few megabytes, and a UTF-8 character takes up to 4 bytes
MOST_CHARACTERS = 200_000


class Batches:
    """Batches of one engine.

    Args:
        requester: sends them.
        batch_size: maximum texts per request; lowered if the server says that it takes fewer.
        concurrency: batches in flight at once.
    """

    def __init__(self, requester: Requester, batch_size: int, concurrency: int) -> None:
        self._requester = requester
        self._batch_size = batch_size
        self._concurrency = concurrency
        self._misfits = 0  # in a row

    def end_of_batch(self, texts: Sequence[str], start: int) -> int:
        """End of the batch that begins at `start`: limited by count or by characters, whichever comes first."""
        characters = 0
        stop = start
        # read the batch size for each batch: the server may have lowered it
        while stop < min(start + self._batch_size, len(texts)):
            characters += len(texts[stop])
            if characters > MOST_CHARACTERS and stop > start:
                break
            stop += 1
        return stop

    async def embed(self, texts: list[str], positions: np.ndarray, proven: bool = False) -> EmbeddedBatch:
        """One batch's vectors, and its failures.

        Args:
            texts: of the batch.
            positions: `(n,)` int64, one per text.
            proven: whether the server has just accepted a harmless text.

        Raises:
            EmbedderError: for a fault that no text causes.
        """
        try:
            places, vectors, failures = await self._requester.vectors_of(texts)
        except TextFault as fault:
            if not proven:
                await self._requester.prove()
            if isinstance(fault, MisfitFault) and len(texts) > 1:
                self._note_misfit(fault)
            if len(texts) > 1:
                return await self._embed_halves(texts, positions, proven=True)
            if not proven:  # the server may just have recovered
                return await self.embed(texts, positions, proven=True)
            await self._requester.prove()  # it may have failed since
            return self._no_vectors({int(positions[0]): str(fault)})
        except TooLargeFault as fault:
            if len(texts) == 1:
                await self._requester.prove()  # a proxy may refuse every body
                return self._no_vectors({int(positions[0]): str(fault)})
            if fault.most_texts is not None and fault.most_texts < self._batch_size:
                logger.info("%s takes at most %d texts a request", self._requester.where, fault.most_texts)
                self._batch_size = fault.most_texts
            return await self._embed_halves(texts, positions, proven)
        if len(texts) > 1:
            self._misfits = 0
        # the valid rows show that the server works; a text is blamed only if it also fails alone
        alone = [await self.embed([texts[place]], positions[place : place + 1], proven=True) for place in failures]
        batch = EmbeddedBatch(positions[places], vectors)
        return _joined([batch, *alone]) if alone else batch

    def _note_misfit(self, fault: MisfitFault) -> None:
        """Count a mismatch: halving finds a bad text in a few steps; after more, the server is at fault."""
        self._misfits += 1
        if self._misfits > self._concurrency * self._batch_size.bit_length():
            raise ServerError(
                f"{self._requester.where} answers only single texts: {fault}, {self._misfits} times in a row; "
                f"set {self._requester.called('batch_size')}=1",
                "misfit answers",
            )

    async def _embed_halves(self, texts: list[str], positions: np.ndarray, proven: bool) -> EmbeddedBatch:
        middle = len(texts) // 2
        halves = [
            await self.embed(texts[part], positions[part], proven) for part in (slice(middle), slice(middle, None))
        ]
        return _joined(halves)

    def _no_vectors(self, failures: dict[int, str]) -> EmbeddedBatch:
        return EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self._requester.dim or 0), np.float32), failures)


def _joined(batches: list[EmbeddedBatch]) -> EmbeddedBatch:
    filled = [batch for batch in batches if len(batch.indices)] or batches[:1]
    return EmbeddedBatch(
        np.concatenate([batch.indices for batch in filled]),
        np.concatenate([batch.vectors for batch in filled]),
        {position: why for batch in batches for position, why in batch.failures.items()},
    )
