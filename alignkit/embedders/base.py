"""What every embedder promises: text in, checked float32 vectors out."""

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
    """Vectors of some of the texts, as soon as they are there.

    Attributes:
        indices: `(n,)` int64, positions in the texts that were given.
        vectors: `(n, dim)` float32, finite, row i belongs to `indices[i]`.
        failures: position of a text that has no vector → the reason, in words.
        cut: positions of the texts that are longer than the model's context, so that their ends were not read.
    """

    indices: np.ndarray
    vectors: np.ndarray
    failures: Mapping[int, str] = field(default_factory=dict)
    cut: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Session:
    """Whether the same server still answers, with all that it was started with; embedders behind one have a `session`.

    Attributes:
        breaks: grows whenever a connection was lost or had to be opened again.
        sure: whether nothing but a restart can change vectors of one identity; else answers have to be compared.
    """

    breaks: int
    sure: bool


class Embedder(Protocol):
    """Text → vectors. One file a backend; nothing here knows of the cache.

    One that several threads may call at once says so with an attribute `thread_safe = True`; one behind a server
    counts in `connections_made` how often it was connected to.
    """

    @property
    def dim(self) -> int:
        """Width of the vectors; may ask the model the first time."""
        ...

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """All that by intent changes a vector, as plain JSON values: backend, model and its digest, the prompt of
        `role`, normalisation, dimensions, truncation. `sameness.same_vectors` says which identities mean
        interchangeable vectors. What a server told is remembered; `current_identity` asks it again.
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


def context_of(embedder: Embedder) -> int | None:
    """Most tokens of a text that the model reads; None where there is no limit, or none can be told."""
    try:
        found: int | None = getattr(embedder, "context", None)
    except EmbedderError:
        return None
    return found


def session_of(embedder: Embedder) -> Session | None:
    """The session of an embedder behind a server; None for one in this process, which cannot be replaced."""
    found: Session | None = getattr(embedder, "session", None)
    return found


def current_identity(embedder: Embedder, role: Role = "document") -> dict[str, Any]:
    """The identity as it is now, asked once and briefly: behind a server, a name can come to mean another model.

    Raises:
        EmbedderError: if it cannot be told now.
    """
    ask: Callable[[Role], dict[str, Any]] = getattr(embedder, "current_identity", embedder.identity)
    return ask(role)


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
    """Collects batches in any order; a row that nobody filled, which is whatever memory held, is never handed out.

    Args:
        count: texts.
        dim: width of the vectors.
    """

    def __init__(self, count: int, dim: int) -> None:
        self._vectors = np.empty((count, dim), dtype=np.float32)
        self._filled = np.zeros(count, dtype=bool)
        self._failures: dict[int, str] = {}

    def put(self, batch: EmbeddedBatch, vectors: np.ndarray | None = None) -> None:
        """Take in a batch.

        Args:
            batch: which texts, and the failures.
            vectors: `(n, dim)` in place of the batch's own, made from them.

        Raises:
            EmbedderError: if these are no vectors of the texts that were given.
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
        """Vectors `(count, dim)`, and the failures: the rows of those are undefined.

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
