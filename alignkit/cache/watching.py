"""Keep only vectors that surely come from one model: one behind a server can be replaced while it embeds."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import numpy as np

from alignkit.embedders.base import EmbeddedBatch, Embedder, Role, Session, current_identity, embed_all, session_of
from alignkit.embedders.sameness import differences
from alignkit.embedders.steadiness import Steadiness
from alignkit.errors import EmbedderError
from alignkit.servers.untrusted_words import quoted

log = logging.getLogger(__name__)

# for an answer that is waited for
AT_ONCE_S = 0.1
# between two questions; what comes meanwhile waits in memory
EVERY_S = 1.0
# how long a server may leave the question open: a chat model on a slow machine puts it behind texts of minutes
UNSURE_S = 300.0
LONGEST_CANARY = 200
SHOWN = 3


class ModelChangedError(EmbedderError):
    """Another model answered while texts were embedded.

    Args:
        reason: what changed.
        mend: what to do now.
        texts: embedded and not kept, since it is unknown which model made their vectors.
    """

    def __init__(self, reason: str, mend: str, texts: Sequence[str]) -> None:
        some = ", ".join(quoted(text) for text in texts[:SHOWN])
        more = f" and {len(texts) - SHOWN:,} more" if len(texts) > SHOWN else ""
        lost = f"the {len(texts):,} texts embedded last are not kept ({some}{more})" if texts else "nothing was kept"
        super().__init__(f"{reason}; {lost}; everything stored comes from the earlier model. {mend}")
        self.reason = reason
        self.mend = mend
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
        self._beside: list[str] = []
        self._steadiness = Steadiness(embedder, role)
        self._session: Session | None = session_of(embedder)
        self._sure_at = time.monotonic()
        self._asked_at = 0.0  # the first batch shows that all is well, and is not kept waiting
        self._asker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model-watch")
        self._answer: Future[Session | None] | None = None
        self._covered = 0
        if self._session is not None and (changes := self._changes()):
            raise _replaced(changes, [])

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
        if self._answer is None:
            if time.monotonic() - self._asked_at < EVERY_S:
                return []
            self._answer, self._covered = self._asker.submit(self._ask), len(self._held)
        # a digest comes at once; a text waits its turn behind those that are on their way, and nothing waits for it
        wait([self._answer], timeout=AT_ONCE_S)
        return self._taken() if self._answer.done() else []

    def end(self) -> list[EmbeddedBatch]:
        """Give the last batches.

        Raises:
            ModelChangedError: if another model answers.
            EmbedderError: if the server does not say.
        """
        sure = []
        while self._held:
            if self._answer is None:
                self._answer, self._covered = self._asker.submit(self._ask), len(self._held)
            wait([self._answer])
            released = self._taken()
            sure += released
            if not released:
                time.sleep(EVERY_S)
        return sure

    def close(self) -> list[EmbeddedBatch]:
        """Give what is sure after a fault of the server, a full disk or Ctrl-C, asking once; say what is not."""
        self._asker.shutdown(wait=False, cancel_futures=True)
        if not self._held:
            return []
        try:
            self._ask(is_quick=True)
        except EmbedderError as error:
            log.warning("%s", error if isinstance(error, ModelChangedError) else self._unsure(error))
            self._held.clear()
        return self._released(len(self._held))

    def _taken(self) -> list[EmbeddedBatch]:
        """What the answer of the server makes sure."""
        answer, self._answer = self._answer, None
        self._asked_at = time.monotonic()
        try:
            self._session = answer.result() if answer is not None else self._session
        except ModelChangedError as changed:
            texts = self._held_texts()  # some came since
            self._held.clear()
            raise ModelChangedError(changed.reason, changed.mend, texts) from None
        except EmbedderError as fault:
            if time.monotonic() - self._sure_at > UNSURE_S:
                unsure = self._unsure(fault)
                self._held.clear()
                raise unsure from None
            return []
        self._sure_at = time.monotonic()
        return self._released(self._covered)

    def _ask(self, is_quick: bool = False) -> Session | None:
        """Whether all that is held by now is one model's.

        Args:
            is_quick: embed nothing: the server may have given up, or the user be waiting.

        Returns:
            The session that this is true of.

        Raises:
            ModelChangedError: if another model answers.
            EmbedderError: if that cannot be told now.
        """
        session = session_of(self._embedder)
        if changes := self._changes():
            raise _replaced(changes, self._held_texts())
        broke = session != self._session
        if is_quick and broke:
            raise EmbedderError("the connection broke, and another server may have answered since")
        if self._canary is not None and not is_quick and (broke or (session is not None and not session.sure)):
            cosine = self._cosine(*self._canary)
            if cosine < (least := self._steadiness.least(cosine, self._beside)):
                raise ModelChangedError(
                    f"the server embeds a text differently now (cosine {cosine:.4f}, expected at least {least:.4g}), "
                    "as it would after a restart with other settings",
                    "Start it as before and run the same command again, or choose another cache_dir",
                    self._held_texts(),
                )
        return session

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
            some = [self._texts[place] for place in batch.indices.tolist()]
            self._beside = [self._canary[0], *(text for text in some if len(text) <= LONGEST_CANARY)]

    def _released(self, count: int) -> list[EmbeddedBatch]:
        released, self._held = self._held[:count], self._held[count:]
        return released

    def _held_texts(self) -> list[str]:
        return [self._texts[place] for batch in list(self._held) for place in batch.indices.tolist()]

    def _unsure(self, fault: EmbedderError) -> EmbedderError:
        return EmbedderError(
            f"{fault}; so it is unknown which model made the last {len(self._held_texts()):,} vectors, and they are "
            "not kept"
        )


def _replaced(changes: Sequence[str], texts: Sequence[str]) -> ModelChangedError:
    reason = f"the model behind the server was replaced while it was embedding ({'; '.join(changes)})"
    return ModelChangedError(reason, "Run the same command again to embed all texts with the new model", texts)
