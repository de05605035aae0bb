"""Does a server still embed as it did? A text of ours tells what no digest does: its version, its flags, a pooling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alignkit.embedders.base import Embedder, embed_all

# of several words: of one, several poolings make the same vector
TEXT = "The parcel for the harbour office arrived two days late, and nobody had signed for it."
ALIKE = 0.999


class Canary:
    """Embeds one text at first, and again after a connection was opened, as the server may have been restarted.

    Once the vector is another, each question embeds the text again.

    Args:
        embedder: a model behind a server; one in this process opens no connection and is not asked.
        connections: how many were opened so far.
    """

    def __init__(self, embedder: Embedder, connections: Callable[[], int]) -> None:
        self._embedder = embedder
        self._connections = connections
        self._asked_at = 0  # connections
        self._before: np.ndarray | None = None
        self._found: list[str] = []

    def changes(self) -> list[str]:
        """What is otherwise than at first, in words; empty for nothing.

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
            if cosine >= ALIKE
            else [f"it embeds a text otherwise than at first, cosine {cosine:.4f}; was its server started differently?"]
        )
        self._asked_at = connections
        return self._found


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    if first.shape != second.shape:
        return 0.0
    lengths = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / max(lengths, 1e-12)
