"""What every embedder promises: text in, checked float32 vectors out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from alignkit.errors import EmbedderError

Role = Literal["query", "document"]


@dataclass(frozen=True)
class EmbeddedBatch:
    """Vectors of some of the texts, as soon as they are there.

    Attributes:
        indices: `(n,)` int64, positions in the texts that were given.
        vectors: `(n, dim)` float32, finite, row i belongs to `indices[i]`.
        failures: position of a text that has no vector → the reason, in words.
    """

    indices: np.ndarray
    vectors: np.ndarray
    failures: Mapping[int, str] = field(default_factory=dict)


class Embedder(Protocol):
    """Text → vectors. One file a backend; nothing here knows of the cache."""

    @property
    def dim(self) -> int:
        """Width of the vectors; may ask the model the first time."""
        ...

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """All that by intent changes a vector, as plain JSON values: backend, model and its digest, the prompt of
        `role`, normalisation, dimensions, truncation. Equal identities mean interchangeable vectors.
        """  # noqa: D205
        ...

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The part of `identity(role)` that is known without asking the model or its server: the same keys and
        values, less what only they can tell (a digest). With it a cache finds the identity while the server is off.
        """  # noqa: D205
        ...

    def provenance(self) -> dict[str, Any]:
        """What is worth recording beside the identity (server version, host, date); never a secret."""
        ...

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Yield batches as they finish; together they cover every position once, as a vector or as a failure."""
        ...

    def close(self) -> None:
        """Free sockets, threads and models; harmless twice."""
        ...


def embed_all(embedder: Embedder, texts: Sequence[str], role: Role = "document") -> np.ndarray:
    """The one-call form: all vectors `(len(texts), dim)` float32 in order, or an `EmbedderError`.

    Raises:
        EmbedderError: if any text has no vector; the message counts them and gives the first reason.
    """
    return join_batches(embedder.embed(texts, role), len(texts), embedder.dim)


def join_batches(batches: Iterable[EmbeddedBatch], count: int, dim: int) -> np.ndarray:
    """Batches in any order as one array.

    Args:
        batches: together they cover `count` texts.
        count: texts.
        dim: width of the vectors.

    Returns:
        `(count, dim)` float32 in the order of the texts.

    Raises:
        EmbedderError: if any text has no vector; the message counts them and gives the first reason.
    """
    vectors = np.empty((count, dim), dtype=np.float32)
    failures: dict[int, str] = {}
    for batch in batches:
        vectors[batch.indices] = batch.vectors
        failures.update(batch.failures)
    if failures:
        first = min(failures)
        raise EmbedderError(
            f"{len(failures)} of {count} texts have no vector; the first is text {first}: {failures[first]}"
        )
    return vectors
