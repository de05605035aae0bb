"""Does a server give a text the same vector whatever it computes beside it? Quantised chat models often do not."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from alignkit.embedders.base import Embedder, Role, embed_all

log = logging.getLogger(__name__)

# cosine of a text with itself, embedded twice by one model
ALIKE = 0.999
# the same where vectors depend on what is embedded beside them; another pooling or model stays far below
HARDLY_ALIKE = 0.99
_ROOM = 2.0
_MOST_TEXTS = 8


class Steadiness:
    """How alike two vectors of a text must be to count as one model's.

    It is measured where it decides, and once: texts are embedded alone, together, and together in another order. Where
    they do not agree with themselves, they need to agree with earlier vectors only about as well.

    Args:
        embedder: as it is now.
        role: whose prompt.
    """

    def __init__(self, embedder: Embedder, role: Role) -> None:
        self._embedder = embedder
        self._role = role
        self._measured: float | None = None

    def least(self, cosine: float, texts: Sequence[str]) -> float:
        """What the cosine of a text's two vectors must reach.

        Args:
            cosine: that was found; one that is clear either way needs no measurement.
            texts: a few to measure with; more than eight are not looked at.

        Returns:
            In [`HARDLY_ALIKE`, `ALIKE`].

        Raises:
            EmbedderError: if the model gives no vectors now.
        """
        if cosine >= ALIKE or cosine < HARDLY_ALIKE:
            return ALIKE
        if self._measured is None:
            self._measured = self._measure(list(dict.fromkeys(texts))[:_MOST_TEXTS])
        return self._measured

    def _measure(self, texts: list[str]) -> float:
        def embedded(some: list[str]) -> np.ndarray:
            return embed_all(self._embedder, some, self._role)

        alone = np.concatenate([embedded([text]) for text in texts])
        lowest = min(_lowest_cosine(alone, other) for other in (embedded(texts), embedded(texts[::-1])[::-1]))
        if lowest >= ALIKE:
            return ALIKE
        log.warning(
            "the vector of a text depends on what the server computes beside it: a text and itself have a cosine of "
            "%.4f",
            lowest,
        )
        return max(HARDLY_ALIKE, 1.0 - _ROOM * (1.0 - lowest))


def _lowest_cosine(first: np.ndarray, second: np.ndarray) -> float:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(axis=1) / np.maximum(lengths, 1e-12)).min())
