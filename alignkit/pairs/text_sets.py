"""Test sets of texts that have no vectors yet: both models embed them through the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import EmbedderError
from alignkit.pairs.base import PairSplits
from alignkit.pairs.evaluation_set import EvaluationSet, Side
from alignkit.pairs.judged_texts import SHOWN
from alignkit.pairs.searched_corpus import set_of_splits
from alignkit.progress import progress

logger = logging.getLogger(__name__)


@runtime_checkable
class TextSet(Protocol):
    """A test set that has no vectors yet, and no training split."""

    def embed(self, student: Embedder, teacher: Embedder) -> EvaluationSet:
        """Read the texts and embed what the cache lacks."""
        ...


def evaluation_set(data: PairSplits | TextSet, embedders: Mapping[str, Embedder], seed: int) -> EvaluationSet:
    """The test split of pairs, or a set of texts put through the embedders."""
    if isinstance(data, PairSplits):
        return set_of_splits(data, seed)
    return data.embed(embedders["student"], embedders["teacher"])


@dataclass(frozen=True)
class EmbeddedTexts:
    """Texts that both models have a vector of, and the others.

    Attributes:
        side: vectors and texts.
        keys: of the rows of `side`.
        failures: key of each text that is left out → the reason.
    """

    side: Side
    keys: list[str]
    failures: Mapping[str, str]


def embed_texts(
    cache: VectorCache, models: Mapping[str, Embedder], texts: Mapping[str, str], role: Role
) -> EmbeddedTexts:
    """Both models' vectors of `key -> text`; a text at fault (blank, too long to be taken whole) is left out."""
    keys = list(texts)
    failures: dict[str, str] = {}
    vectors: dict[str, np.ndarray] = {}
    for name, embedder in models.items():
        cached = CachedEmbedder(embedder, cache)
        asked = np.array([row for row, key in enumerate(keys) if key not in failures], dtype=np.int64)
        logger.info("%s: %d texts as %s", name, len(asked), role)
        vectors[name] = np.zeros((len(keys), cached.dim), dtype=np.float32)
        with progress(name, "texts") as counted:
            counted.begin(len(asked))
            for batch in cached.embed([texts[keys[row]] for row in asked], role):
                vectors[name][asked[batch.indices]] = batch.vectors
                failures |= {keys[asked[place]]: reason for place, reason in batch.failures.items()}
                counted.advance(len(batch.indices) + len(batch.failures))
        if len(failures) == len(keys):
            raise EmbedderError(f"no text has a vector by the {name}; the first: {failures[keys[0]]}")
    if failures:  # a copy of a large corpus is made only where it has to be
        kept = [row for row, key in enumerate(keys) if key not in failures]
        vectors = {name: own[kept] for name, own in vectors.items()}
        keys = [keys[row] for row in kept]
    side = Side(student=vectors["student"], teacher=vectors["teacher"], texts=[texts[key] for key in keys])
    return EmbeddedTexts(side, keys, failures)


def left_out_note(what: str, found: EmbeddedTexts, then: str = "") -> list[str]:
    """What had no vector, in words: nothing, or one note."""
    if not found.failures:
        return []
    count, total = len(found.failures), len(found.keys) + len(found.failures)
    first = "; ".join(f"{key[:40] or '(empty)'}: {reason}" for key, reason in list(found.failures.items())[:SHOWN])
    note = f"{count:,} of {total:,} {what} cannot be embedded and are left out{then}. The first: {first}"
    logger.warning("%s", note)
    return [note]


def identities_of(cache: VectorCache, models: dict[str, Embedder]) -> dict[str, Any]:
    """Whose vectors these are, by side."""
    return {name: CachedEmbedder(part, cache).identity("query") for name, part in models.items()}
