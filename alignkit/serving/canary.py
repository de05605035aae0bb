"""Whether a server still embeds as before. A probe text reveals what no digest does: version, flags, pooling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alignkit.embedders.base import Embedder, embed_all
from alignkit.embedders.steadiness import Steadiness

# several words, because several poolings give the same vector for a single one
TEXT = "The parcel for the harbour office arrived two days late, and nobody had signed for it."
# to see whether a vector depends on what is beside it
BESIDE = [TEXT, *(f"{TEXT} ({number})" for number in range(1, 8))]


class Canary:
    """Embeds one text at the start, and again after each new connection, as the server may have been restarted.

    Once the vector differs, every question embeds the text again.

    Args:
        embedder: a model behind a server; a model in this process opens no connections and is not asked.
        connections: returns how many were opened so far.
    """

    def __init__(self, embedder: Embedder, connections: Callable[[], int]) -> None:
        self._embedder = embedder
        self._connections = connections
        self._asked_at = 0  # connections
        self._before: np.ndarray | None = None
        self._steadiness = Steadiness(embedder, "query")
        self._found: list[str] = []

    def changes(self) -> list[str]:
        """What differs from the start, in words; empty if nothing does.

        Raises:
            EmbedderError: if the server gives no vector now.
        """
        connections = self._connections()
        if connections == self._asked_at and not self._found:
            return []
        now = embed_all(self._embedder, [TEXT], "query")[0]
        if self._before is None:
            self._before = now
        cosine = _cosine(self._before, now)
        self._found = (
            []
            if cosine >= self._steadiness.least(cosine, BESIDE)
            else [f"it embeds a text differently than at the start, cosine {cosine:.4f}; have its settings changed?"]
        )
        self._asked_at = connections
        return self._found


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    if first.shape != second.shape:
        return 0.0
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / max(lengths, 1e-12)
