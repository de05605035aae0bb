"""Is it the texts that have no vector, or the model that gives none? A plain sentence tells."""

from __future__ import annotations

from collections.abc import Sequence

from alignkit.embedders.base import EmbeddedBatch, Embedder, Role
from alignkit.errors import EmbedderError

PLAIN = "This is a plain sentence."


def check_blame(embedder: Embedder, role: Role, batch: EmbeddedBatch, texts: Sequence[str]) -> None:
    """Before a batch without a single vector is held against its texts, see whether the model gives one at all.

    Args:
        embedder: whose batch.
        role: whose prompt.
        batch: as it came.
        texts: those that its positions count.

    Raises:
        EmbedderError: if it does not.
    """
    if len(batch.indices) or all(not texts[position].strip() for position in batch.failures):
        return
    for answer in embedder.embed([PLAIN], role):
        if answer.failures:
            model = embedder.settings(role).get("model", "the model")
            raise EmbedderError(
                f"{model} gives no vector, not even for a plain sentence ({answer.failures[0]}): the fault is the "
                "model's or its server's, and no text is quarantined for it; mend it and give the same command again"
            )
