"""What it costs to embed one query with the models that made these vectors, and where each of them ran.

A model may run in this process, on a graphics card, or behind a server anywhere: its time is that of where it ran.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alignkit.embedders.base import ROLES, Embedder, embed_all, weights_mb
from alignkit.embedders.sameness import same_vectors
from alignkit.errors import AlignkitError
from alignkit.evaluation.query_times import median_ms
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.setting_names import SIDES

logger = logging.getLogger(__name__)

EMBED_RUNS = 15


@dataclass(frozen=True)
class EmbeddingTime:
    """Median time of one query.

    Attributes:
        ms: `None` where it was not taken.
        said: where the model ran, or why there is no time: what follows "student:" in a report.
        mb: what the model weighs in memory; `None` where it is not in this process.
    """

    ms: float | None
    said: str
    mb: float | None = None


def embedding_times(
    test: EvaluationSet, embedders: Mapping[str, Embedder], absent: Mapping[str, str]
) -> dict[str, EmbeddingTime]:
    """Time both models on queries of the set, one at a time; a model that cannot be timed says why.

    Args:
        test: its queries are embedded.
        embedders: `student` and `teacher`, as far as they are there.
        absent: model → why it is not timed, for those that are not.
    """
    return {name: embedding_time(test, name, embedders.get(name), absent.get(name)) for name in SIDES}


def embedding_time(
    test: EvaluationSet, name: str, embedder: Embedder | None, absent: str | None = None
) -> EmbeddingTime:
    """Time one of the models, `student` or `teacher`; see `embedding_times`."""
    try:
        reason = absent or _mismatch(name, embedder, test)
        if reason is None and embedder is not None:
            milliseconds = _embed_ms(embedder, list(test.queries.texts or [])[:EMBED_RUNS])
            return EmbeddingTime(milliseconds, where_it_ran(embedder), weights_mb(embedder))
    except AlignkitError as error:  # an evaluation that is done is not thrown away for a time
        reason = str(error)
    logger.info("the %s is not timed: %s", name, reason)
    return EmbeddingTime(None, f"not timed: {reason}")


def not_timed(reason: str) -> dict[str, EmbeddingTime]:
    """Both models without a time, and why."""
    return {side: EmbeddingTime(None, f"not timed: {reason}") for side in SIDES}


def where_it_ran(embedder: Embedder) -> str:
    """The server or the device of a model that has been called, in words."""
    try:
        provenance = embedder.provenance()
    except AlignkitError:  # a server need not tell its version
        return "a server that does not say what it is"
    return place_in_words(provenance)


def place_in_words(provenance: Mapping[str, Any]) -> str:
    """Where a model ran, by what `Embedder.provenance` says.

    >>> place_in_words({"base_url": "http://10.0.0.5:11434"}), place_in_words({"device": "cuda:0"}), place_in_words({})
    ('the server at http://10.0.0.5:11434', 'this machine, cuda:0', 'this machine, CPU')
    """
    if provenance.get("base_url"):
        return f"the server at {provenance['base_url']}"
    device = str(provenance.get("device") or "cpu")
    return f"this machine, {'CPU' if device == 'cpu' else device}"


def _mismatch(name: str, embedder: Embedder | None, test: EvaluationSet) -> str | None:
    """Why this model's time would say nothing about these vectors; `None` where it made them."""
    if embedder is None:
        return "it was not loaded"
    if not test.queries.texts:
        return "the sentences behind the vectors are not known"
    made_by = test.origin.identity(name)
    if made_by is None:
        return f"which model made the {name} vectors is not known"
    if not any(same_vectors(made_by, embedder.identity(role)) for role in ROLES):
        return f"{name}= is not the model that made these vectors"
    return None


def _embed_ms(embedder: Embedder, texts: Sequence[str]) -> float:
    embed_all(embedder, texts[:1], "query")  # the first call may load the model
    return median_ms([lambda text=text: embed_all(embedder, [text], "query") for text in texts])  # type: ignore[misc]
