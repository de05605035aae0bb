"""Checks that an embedder really embeds, and describes its vectors."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from alignkit.checking.findings import Finding, failure, ok, warning
from alignkit.embedders.base import Embedder, context_of, embed_all
from alignkit.embedders.steadiness import ALIKE, HARDLY_ALIKE
from alignkit.errors import AlignkitError
from alignkit.progress import duration

# short, long, in several scripts; nothing that a model could refuse
SAMPLE = (
    "How do I reset my password?",
    "The package arrived two days late and the box was open.",
    "book a table for four at seven",
    "What is the capital of France?",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "\u4eca\u5929\u5929\u6c14\u600e\u4e48\u6837\uff1f",
    "Could you please tell me whether my order, which I placed last Tuesday, has already left the warehouse?",
    "error 504: gateway timeout",
)
NORMALISED_WITHIN = 1e-3
SPEED_TEXTS = 512
SPEED_S = 3.0


def check_embedder(name: str, embedder: Embedder) -> Iterator[Finding]:
    """Check one embedder, from its server to its speed; stop at a fault that makes later checks pointless.

    Args:
        name: `student` or `teacher`, for the topics.
        embedder: not used before; it is left open.
    """
    try:
        yield _server(name, embedder)
        yield _model(name, embedder)
        started = time.perf_counter()
        together = embed_all(embedder, SAMPLE)
        first_s = time.perf_counter() - started
    except AlignkitError as error:
        yield failure(name, error)
        return
    yield _vectors(name, together, first_s)
    if hasattr(embedder, "context"):
        yield _context(name, embedder)
    try:
        yield _alone(name, embedder, together)
        if "route" in embedder.identity():
            yield _routes(name, embedder, together)
        yield _speed(name, embedder)
    except AlignkitError as error:
        yield failure(name, error)


def _server(name: str, embedder: Embedder) -> Finding:
    known = embedder.provenance()
    if "server" not in known:
        parts = ", ".join(f"{part} {what}" for part, what in known.items() if what is not None)
        return ok(f"{name} server", f"none, it runs in this process: {parts}")
    version = known.get("server_version")
    return ok(f"{name} server", f"{known['server']} {version or '(tells no version)'} at {known['base_url']}")


def _model(name: str, embedder: Embedder) -> Finding:
    identity = embedder.identity()
    digest = str(identity.get("digest"))
    copy = embedder.provenance().get("copy")
    asked = f"{identity.get('model')}{f' by its copy {copy}' if copy else ''}"
    weights = f", weights {identity['weights'][:12]}" if "weights" in identity else ""
    return ok(f"{name} model", f"{asked}, digest {digest if ':' in digest else digest[:12]}{weights}")


def _context(name: str, embedder: Embedder) -> Finding:
    context, topic = context_of(embedder), f"{name} context"
    if context is None:
        return ok(topic, "not reported; embed says whether a text was cut, as far as it can tell")
    beyond = "refused" if embedder.settings().get("truncate") is False else "cut, and embed says how many were"
    return ok(topic, f"{context:,} tokens; longer texts are {beyond}")


def _vectors(name: str, vectors: np.ndarray, first_s: float) -> Finding:
    topic = f"{name} vectors"
    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors / lengths[:, None]
    between = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    closest = float(between.max())
    if closest > 1 - 1e-5:
        return failure(topic, "different texts get the same vector", "this model does not embed; use another one")
    shape = "normalised" if np.abs(lengths - 1).max() < NORMALISED_WITHIN else "not normalised"
    alike = f"two texts have a cosine of {between.mean():.2f} on average"
    return ok(topic, f"{vectors.shape[1]}-d, {shape}, {alike}, {len(vectors)} texts in {first_s:.1f} s the first time")


def _alone(name: str, embedder: Embedder, together: np.ndarray) -> Finding:
    alone = np.concatenate([embed_all(embedder, [text]) for text in SAMPLE])
    lowest = float(cosines(alone, together).min())
    topic, message = f"{name} batches", f"a text alone and in a batch: lowest cosine {lowest:.6f}"
    if lowest >= ALIKE:
        return ok(topic, message)
    fix = f"embed with {name}.batch_size=1 {name}.concurrency=1, or look for a newer server"
    return warning(topic, message, fix) if lowest >= HARDLY_ALIKE else failure(topic, message, fix)


def _routes(name: str, embedder: Embedder, documents: np.ndarray) -> Finding:
    lowest = float(cosines(embed_all(embedder, SAMPLE, "query"), documents).min())
    return ok(f"{name} routes", f"one for queries, one for documents: lowest cosine of a text with itself {lowest:.3f}")


def _speed(name: str, embedder: Embedder) -> Finding:
    # all different, so that no server can answer from a cache
    texts = [f"{SAMPLE[number % len(SAMPLE)]} ({number})" for number in range(SPEED_TEXTS)]
    done, started = 0, time.perf_counter()
    refused: dict[int, str] = {}
    batches = embedder.embed(texts)
    for batch in batches:
        done += len(batch.indices)
        refused.update(batch.failures)
        if time.perf_counter() - started > SPEED_S:
            break
    rate = done / (time.perf_counter() - started)
    if isinstance(batches, Iterator) and hasattr(batches, "close"):
        batches.close()
    if refused:
        first = min(refused)
        message = (
            f"{len(refused)} of {done + len(refused)} plain texts have no vector; '{texts[first]}': {refused[first]}"
        )
        return failure(f"{name} speed", message, "the model or its server fails under load; see its log")
    return ok(f"{name} speed", f"{rate:,.0f} texts/s; a million take {duration(1e6 / rate)}")


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each row of `(N, D)` with the same row of the other, in float64: `(N,)`.

    >>> cosines(np.array([[1.0, 0.0]]), np.array([[1.0, 1.0]])).round(3).tolist()
    [0.707]
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return np.einsum("nd,nd->n", first, second) / np.maximum(lengths, np.finfo(np.float64).tiny)
