"""Test sets of texts that have no vectors yet: both models embed them through the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from alignkit.cache import CachedEmbedder, KeyedTexts, VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import EmbedderError
from alignkit.pairs.base import PairSplits
from alignkit.pairs.cached_sides import as_array
from alignkit.pairs.evaluation_set import EvaluationSet, Side
from alignkit.pairs.judged_texts import SHOWN
from alignkit.pairs.searched_corpus import set_of_splits
from alignkit.progress import progress
from alignkit.sentences.text_fields import FieldRows

logger = logging.getLogger(__name__)


@runtime_checkable
class TextSet(Protocol):
    """A test set that has no vectors yet, and no training split."""

    def embed(self, student: Embedder, teacher: Embedder) -> EvaluationSet:
        """Read the texts and embed what the cache lacks."""
        ...

    def fields(self) -> tuple[FieldRows, ...]:
        """What its files say beside the texts, by which queries may be grouped."""
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
    keys, failures = list(texts), dict[str, str]()
    for name, embedder in models.items():
        asked = [key for key in keys if key not in failures]
        logger.info("%s: %d texts as %s", name, len(asked), role)
        keyed = KeyedTexts([texts[key] for key in asked])
        with progress(name, "texts") as counted:
            counted.begin(len(keyed.firsts()))
            refused = cache.fill(embedder, keyed, role, counted.advance).quarantined
        failures |= {key: refused[texts[key]] for key in asked if texts[key] in refused}
        if len(failures) == len(keys):
            raise EmbedderError(f"no text has a vector by the {name}; the first: {failures[keys[0]]}")
    keys = [key for key in keys if key not in failures]
    kept = KeyedTexts([texts[key] for key in keys])
    # those of a large corpus stay in the cache, and are read where they are searched
    vectors = {name: as_array(cache.vectors_of(cache.identity_of(one, role), kept)) for name, one in models.items()}
    side = Side(student=vectors["student"], teacher=vectors["teacher"], texts=list(kept))
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
