"""No mixture: a model behind a server can be replaced while it embeds, and only what is surely one model's is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from alignkit.cache.wording import shortened
from alignkit.embedders.base import EmbeddedBatch, Embedder, Role, Session, current_identity, embed_all, session_of
from alignkit.embedders.sameness import differences
from alignkit.errors import EmbedderError

log = logging.getLogger(__name__)

# between two questions; what comes meanwhile waits in memory
EVERY_S = 1.0
# how long a server may leave the question open
UNSURE_S = 60.0
ALIKE = 0.999
LONGEST_CANARY = 200
SHOWN = 3


class ModelChangedError(EmbedderError):
    """Another model answered while texts were embedded.

    Args:
        reason: what changed.
        texts: those that were embedded and are not kept, as nobody can tell which model's their vectors are.
    """

    def __init__(self, reason: str, texts: Sequence[str]) -> None:
        some = ", ".join(repr(shortened(text)) for text in texts[:SHOWN])
        more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
        lost = f"the {len(texts):,} texts embedded last are not kept ({some}{more})" if texts else "nothing was kept"
        super().__init__(
            f"{reason}; {lost}. All that is stored is the earlier model's. Give the same command again: it embeds with "
            "what the server has then"
        )
        self.reason = reason
        self.texts = list(texts)


class Watch:
    """Holds batches back until it is sure that one model made them.

    A batch is sure once the server, asked after it came, still names the model that it named before the texts were
    sent, and, where its answer says nothing of how it was started, embeds a text as it did before. A model in this
    process cannot be replaced: its batches pass.

    Args:
        embedder: whose batches.
        role: whose prompt.
        texts: that are embedded, for what a message says.

    Raises:
        ModelChangedError: if the server has another model by now than when it was first asked.
        EmbedderError: if it does not answer.
    """

    def __init__(self, embedder: Embedder, role: Role, texts: Sequence[str]) -> None:
        self._embedder = embedder
        self._role = role
        self._texts = texts
        self._held: list[EmbeddedBatch] = []
        self._canary: tuple[str, np.ndarray] | None = None
        self._session: Session | None = session_of(embedder)
        self._sure_at = time.monotonic()
        self._asked_at = 0.0  # the first batch shows that all is well, and is not kept waiting
        if self._session is not None and (changes := self._changes()):
            raise ModelChangedError(_replaced(changes), [])

    def admit(self, batch: EmbeddedBatch) -> list[EmbeddedBatch]:
        """Take a batch; give those that are sure by now.

        Raises:
            ModelChangedError: if another model answers.
            EmbedderError: if the server has not answered for long.
        """
        if self._session is None:
            return [batch]
        self._held.append(batch)
        self._choose_canary(batch)
        if time.monotonic() - self._asked_at < EVERY_S:
            return []
        fault = self._fault()
        if fault is not None and time.monotonic() - self._sure_at > UNSURE_S:
            raise self._unsure(fault)
        return [] if fault is not None else self._released()

    def end(self) -> list[EmbeddedBatch]:
        """Give the last batches.

        Raises:
            ModelChangedError: if another model answers.
            EmbedderError: if the server does not say.
        """
        while self._held:
            fault = self._fault()
            if fault is None:
                break
            if time.monotonic() - self._sure_at > UNSURE_S:
                raise self._unsure(fault)
            time.sleep(EVERY_S)
        return self._released()

    def interrupted(self) -> list[EmbeddedBatch]:
        """Give what is sure after a fault of the server, a full disk or Ctrl-C, asking once; say what is not."""
        if not self._held:
            return []
        try:
            fault = self._fault(is_quick=True)
        except ModelChangedError as changed:
            log.warning("%s", changed)
            return []
        if fault is None:
            return self._released()
        log.warning("%d texts embedded last are not kept: %s", len(self._held_texts()), fault)
        self._held.clear()
        return []

    def _fault(self, is_quick: bool = False) -> EmbedderError | None:
        """None where all that is held is sure, else why that cannot be told now.

        Args:
            is_quick: embed nothing: the server may have given up, or the user be waiting.
        """
        self._asked_at = time.monotonic()
        session = session_of(self._embedder)
        try:
            changes = self._changes()
            if changes:
                raise self._changed(_replaced(changes))
            broke = session != self._session
            if is_quick and broke:
                return EmbedderError("the connection broke, and another server may have answered since")
            if self._canary is not None and not is_quick and (broke or (session is not None and not session.sure)):
                cosine = self._cosine(*self._canary)
                if cosine < ALIKE:
                    raise self._changed(
                        f"the server embeds a text otherwise than before (cosine {cosine:.4f}, expected at least "
                        f"{ALIKE}): was it started again with other settings?"
                    )
        except ModelChangedError:
            raise
        except EmbedderError as error:
            return error
        self._session = session
        self._sure_at = time.monotonic()
        return None

    def _changes(self) -> list[str]:
        before: dict[str, Any] = self._embedder.identity(self._role)
        return differences(before, current_identity(self._embedder, self._role))

    def _cosine(self, text: str, before: np.ndarray) -> float:
        now = embed_all(self._embedder, [text], self._role)[0]
        if now.shape != before.shape:
            return 0.0
        return float(now @ before / max(float(np.linalg.norm(now) * np.linalg.norm(before)), 1e-12))

    def _choose_canary(self, batch: EmbeddedBatch) -> None:
        if self._canary is None and len(batch.indices):
            lengths = np.array([len(self._texts[place]) for place in batch.indices.tolist()])
            # the longest that is cheap: of one word, several poolings make the same vector
            row = int(np.argmax(np.where(lengths <= LONGEST_CANARY, lengths, -lengths)))
            self._canary = self._texts[int(batch.indices[row])], batch.vectors[row].copy()

    def _released(self) -> list[EmbeddedBatch]:
        held, self._held = self._held, []
        return held

    def _held_texts(self) -> list[str]:
        return [self._texts[place] for batch in self._held for place in batch.indices.tolist()]

    def _changed(self, reason: str) -> ModelChangedError:
        texts = self._held_texts()
        self._held.clear()
        return ModelChangedError(reason, texts)

    def _unsure(self, fault: EmbedderError) -> EmbedderError:
        texts = self._held_texts()
        self._held.clear()
        return EmbedderError(
            f"{fault}; so nobody can tell which model made the last {len(texts):,} vectors, and they are not kept"
        )


def _replaced(changes: Sequence[str]) -> str:
    return f"the model behind the server was replaced while it was embedding ({'; '.join(changes)})"
