"""Check what an embedder gives before it is stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from alignkit.embedders.base import EmbeddedBatch, Embedder, Role
from alignkit.errors import EmbedderError


def checked_batches(embedder: Embedder, texts: Sequence[str], role: Role, dim: int | None) -> Iterator[EmbeddedBatch]:
    """An embedder's batches: each text once, all vectors finite and of one width.

    Args:
        embedder: whose.
        texts: to embed.
        role: whose prompt.
        dim: the width, where it is known.

    Raises:
        EmbedderError: for anything else.
    """
    seen = np.zeros(len(texts), dtype=bool)
    batches = embedder.embed(texts, role)
    try:
        for batch in batches:
            indices, vectors = np.asarray(batch.indices, dtype=np.int64), np.asarray(batch.vectors, dtype=np.float32)
            if len(indices):
                dim = vectors.shape[-1] if dim is None else dim
                _check_vectors(vectors, (len(indices), dim))
            answered = np.concatenate([indices, np.fromiter(batch.failures, np.int64, len(batch.failures))])
            _check_positions(answered, seen)
            seen[answered] = True
            yield EmbeddedBatch(indices, vectors, batch.failures, batch.cut)
    finally:
        # a generator that is left early stops its requests
        getattr(batches, "close", lambda: None)()
    if not seen.all():
        raise EmbedderError(f"the model gave no answer for {int((~seen).sum())} of {len(texts)} texts")


def _check_vectors(vectors: np.ndarray, shape: tuple[int, int]) -> None:
    if vectors.shape != shape:
        raise EmbedderError(
            f"expected vectors of shape {shape}, the model gave {vectors.shape}; none of them is stored"
        )
    if not np.isfinite(vectors).all():
        raise EmbedderError("the model gave a vector with NaN or Inf; it is not stored")


def _check_positions(answered: np.ndarray, seen: np.ndarray) -> None:
    if len(answered) and (answered.min() < 0 or answered.max() >= len(seen)):
        raise EmbedderError(f"the model answered for a text that it was not given (number {answered.max()})")
    if seen[answered].any() or len(np.unique(answered)) < len(answered):
        raise EmbedderError("the model answered twice for one text")
