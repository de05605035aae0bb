"""Are the texts at fault, or does the model give no vectors at all? A plain sentence tells."""

from __future__ import annotations

from collections.abc import Sequence

from alignkit.embedders.base import EmbeddedBatch, Embedder, Role
from alignkit.errors import EmbedderError

PLAIN = "This is a plain sentence."


def check_blame(embedder: Embedder, role: Role, batch: EmbeddedBatch, texts: Sequence[str]) -> None:
    """Before the texts of a batch without vectors are blamed, check that the model gives vectors at all.

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
                f"{model} gives no vector, not even for a plain sentence ({answer.failures[0]}): the model or "
                "its server is at fault, so no text is quarantined; fix that and run the same command again"
            )
