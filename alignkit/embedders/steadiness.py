"""Does a server give a text the same vector whatever it computes beside it? Quantised chat models often do not."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence

import numpy as np

from alignkit.embedders.base import Embedder, Role, embed_all

log = logging.getLogger(__name__)

# cosine of a text with itself, embedded twice by one model
ALIKE = 0.999
# the same where vectors depend on what is embedded beside them; another pooling or model stays far below
HARDLY_ALIKE = 0.99
_ROOM = 2.0
# kernels are chosen by how many tokens are computed at once: llama-server turns to another one beyond some 64
_ALONE, _CROWD = 8, 32


class Steadiness:
    """How alike two vectors of a text must be to count as one model's.

    It is measured where it decides, and once: texts are embedded in a crowd, then alone. Where they do not agree with
    themselves, they need to agree with earlier vectors only about as well.

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
            texts: some to measure with; the 32 longest are.

        Returns:
            In [`HARDLY_ALIKE`, `ALIKE`].

        Raises:
            EmbedderError: if the model gives no vectors now.
        """
        if cosine >= ALIKE or cosine < HARDLY_ALIKE:
            return ALIKE
        if self._measured is None:
            self._measured = self._measure(sorted(set(texts), key=len, reverse=True)[:_CROWD])
        return self._measured

    def _measure(self, texts: list[str]) -> float:
        def embedded(some: list[str]) -> np.ndarray:
            return embed_all(self._embedder, some, self._role)

        # llama-server keeps what it computed of a beginning: new ones, so that all of it is computed in the crowd first
        new = secrets.token_hex(4)
        crowd = [f"{new} {number} {text}" for number, text in enumerate((texts * _CROWD)[:_CROWD])]
        crowded = embedded(crowd)[:_ALONE]
        alone = np.concatenate([embedded([text]) for text in crowd[:_ALONE]])
        lowest = _lowest_cosine(alone, crowded)
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
