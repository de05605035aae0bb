"""The interface of every embedder: text in, checked float32 vectors out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from alignkit.errors import EmbedderError

Role = Literal["query", "document"]
ROLES: tuple[Role, ...] = ("query", "document")


@dataclass(frozen=True)
class EmbeddedBatch:
    """Vectors of some of the texts, yielded as soon as they are ready.

    Attributes:
        indices: `(n,)` int64, positions in the given texts.
        vectors: `(n, dim)` float32, finite, row i belongs to `indices[i]`.
        failures: position of a text without a vector → the reason, in words.
        cut: positions of texts longer than the model's context, whose ends were not read.
    """

    indices: np.ndarray
    vectors: np.ndarray
    failures: Mapping[int, str] = field(default_factory=dict)
    cut: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Session:
    """Tells whether a server may have been restarted; embedders that use a server have a `session`.

    Attributes:
        breaks: increases whenever a connection is lost or reopened.
        sure: whether only a restart can change the vectors of an identity; otherwise answers must be compared.
    """

    breaks: int
    sure: bool


class Embedder(Protocol):
    """Text → vectors. One file per backend; nothing here depends on the cache.

    A thread-safe embedder says so with an attribute `thread_safe = True`. One that uses a server counts its
    connections in `connections_made`.
    """

    @property
    def dim(self) -> int:
        """Width of the vectors; the first call may ask the model."""
        ...

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """Everything meant to affect a vector, as plain JSON values: backend, model and its digest, the prompt of
        `role`, normalisation, dimensions, truncation. `sameness.same_vectors` says which identities have
        interchangeable vectors. A server's answers are remembered; `current_identity` asks again.
        """  # noqa: D205
        ...

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The part of `identity(role)` that is known without asking the model or its server: the same keys and
        values, except those that only they know (a digest). A cache uses it to find the identity while the server is
        off.
        """  # noqa: D205
        ...

    def provenance(self) -> dict[str, Any]:
        """Further facts worth recording (server version, host, date); never a secret."""
        ...

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Yield batches as they finish; together they cover every position once, with a vector or a failure."""
        ...

    def close(self) -> None:
        """Free sockets, threads and models; may be called twice."""
        ...


def context_of(embedder: Embedder) -> int | None:
    """Maximum tokens of a text that the model reads; None if there is no limit or it is unknown."""
    try:
        found: int | None = getattr(embedder, "context", None)
    except EmbedderError:
        return None
    return found


def weights_mb(embedder: Embedder) -> float | None:
    """What a model weighs in the memory of this process, in millions of bytes; None where it is elsewhere."""
    found: float | None = getattr(embedder, "weights_mb", None)
    return found


def session_of(embedder: Embedder) -> Session | None:
    """The session of an embedder that uses a server; None for one in this process, which cannot be replaced."""
    found: Session | None = getattr(embedder, "session", None)
    return found


def current_identity(embedder: Embedder, role: Role = "document") -> dict[str, Any]:
    """The current identity, asked once with a short timeout: on a server, a name may come to mean another model.

    Raises:
        EmbedderError: if it cannot be determined now.
    """
    ask: Callable[[Role], dict[str, Any]] = getattr(embedder, "current_identity", embedder.identity)
    return ask(role)


def embed_all(embedder: Embedder, texts: Sequence[str], role: Role = "document") -> np.ndarray:
    """Embed all texts in one call: vectors `(len(texts), dim)` float32 in order, or an `EmbedderError`.

    Raises:
        EmbedderError: if any text has no vector; the message counts them and gives the first reason.
    """
    return join_batches(embedder.embed(texts, role), len(texts), embedder.dim)


def join_batches(batches: Iterable[EmbeddedBatch], count: int, dim: int) -> np.ndarray:
    """Join batches that come in any order into one array.

    Args:
        batches: together they cover `count` texts.
        count: number of texts.
        dim: width of the vectors.

    Returns:
        `(count, dim)` float32 in the order of the texts.

    Raises:
        EmbedderError: if any text has no vector; the message counts them and gives the first reason.
    """
    rows = RowsInOrder(count, dim)
    for batch in batches:
        rows.put(batch)
    vectors, failures = rows.all()
    if failures:
        first = min(failures)
        raise EmbedderError(
            f"{len(failures)} of {count} texts have no vector; the first is text {first}: {failures[first]}"
        )
    return vectors


class RowsInOrder:
    """Collects batches in any order; never returns a row that was not filled, which is uninitialised memory.

    Args:
        count: texts.
        dim: width of the vectors.
    """

    def __init__(self, count: int, dim: int) -> None:
        self._vectors = np.empty((count, dim), dtype=np.float32)
        self._filled = np.zeros(count, dtype=bool)
        self._failures: dict[int, str] = {}

    def put(self, batch: EmbeddedBatch, vectors: np.ndarray | None = None) -> None:
        """Store a batch.

        Args:
            batch: positions and failures.
            vectors: `(n, dim)`, derived from the batch's own and stored in their place.

        Raises:
            EmbedderError: if these are not vectors of the given texts.
        """
        vectors = batch.vectors if vectors is None else vectors
        count, dim = self._vectors.shape
        indices = np.asarray(batch.indices, dtype=np.int64)
        if len(indices) and vectors.shape != (len(indices), dim):
            raise EmbedderError(
                f"the model gave vectors of shape {vectors.shape} for {len(indices)} texts; "
                f"expected {(len(indices), dim)}"
            )
        strange = [row for row in (*indices.tolist(), *batch.failures) if not 0 <= row < count]
        if strange:
            raise EmbedderError(f"the model answered for text {strange[0]}, and there are only {count}")
        if len(indices):
            self._vectors[indices] = vectors
            self._filled[indices] = True
        self._failures.update(batch.failures)

    def all(self) -> tuple[np.ndarray, dict[int, str]]:
        """Vectors `(count, dim)`, and the failures, whose rows are undefined.

        Raises:
            EmbedderError: if a text has neither a vector nor a failure.
        """
        self._filled[list(self._failures)] = True
        lacking = np.flatnonzero(~self._filled)
        if len(lacking):
            raise EmbedderError(
                f"the model gave no answer for {len(lacking)} of {len(self._filled)} texts, the first is text "
                f"{lacking[0]}; ask again, and if it happens again, the embedder is at fault"
            )
        return self._vectors, self._failures
