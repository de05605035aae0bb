"""Does a model still give the stored vectors? Embedding a few stored texts again tells what no digest can."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from alignkit.cache.checked import checked_batches
from alignkit.cache.lookup import Lookup
from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.steadiness import Steadiness
from alignkit.errors import CacheError

log = logging.getLogger(__name__)

# differ from run to run without a change of what surrounds the model
FLEETING = ("date", "load_s", "context")


def compare_canaries(
    lookup: Lookup, embedder: Embedder, role: Role, identity: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Embed a few stored texts again where other vectors may come: what surrounds the model has changed (version,
    address, device), or a server is asked, which does not tell all that it was started with (pooling, context).

    Raises:
        CacheError: if their vectors are now unlike the stored ones.
    """  # noqa: D205
    headers = lookup.models.headers(identity)
    if not headers:
        return
    before = headers[-1].provenance
    names = sorted((before.keys() | provenance.keys()) - set(FLEETING))
    changes = [
        f"{name} {before.get(name)} -> {provenance.get(name)}"
        for name in names
        if before.get(name) != provenance.get(name)
    ]
    if not changes and "server" not in provenance:
        return
    change = ", ".join(changes) or "the server reports no change"
    lowest = lowest_cosine(lookup, embedder, role, identity)
    if lowest is None:
        log.info("%s: no stored text is left for a comparison; going on", change)
        return
    if lowest < (least := Steadiness(embedder, role).least(lowest, _texts(lookup, identity))):
        name = identity.get("model", "the model")
        back = (
            "go back to the setup that made them"
            if changes
            else "start it with its earlier settings (pooling, context)"
        )
        raise CacheError(
            f"{change}, but {name} now embeds texts unlike the vectors in {lookup.store.folder} "
            f"(lowest cosine {lowest:.4f}, expected at least {least:.4g}); {back}, or choose another cache_dir"
        )
    if changes:
        log.info("%s: stored texts still embed alike (lowest cosine %.5f); going on", change, lowest)


def lowest_cosine(lookup: Lookup, embedder: Embedder, role: Role, identity: Mapping[str, Any]) -> float | None:
    """Of the vectors of a few stored texts, embedded again, with those stored; None where none is left.

    Raises:
        EmbedderError: if the model cannot be asked, or gives vectors of another width.
    """
    headers, texts = lookup.models.headers(identity), _texts(lookup, identity)
    cosines = [
        _cosines(batch.vectors, lookup.gather(identity, [texts[position] for position in batch.indices]))
        for batch in checked_batches(embedder, texts, role, headers[-1].dim if headers else None)
        if len(batch.indices)
    ]
    return float(np.concatenate(cosines).min()) if cosines else None


def _texts(lookup: Lookup, identity: Mapping[str, Any]) -> list[str]:
    """The canaries of the last shards whose vectors are stored."""
    headers = lookup.models.headers(identity)[-2:]
    texts = list(dict.fromkeys(text for header in headers for text in header.canaries))
    lacking = set(lookup.missing(identity, texts).tolist())
    return [text for position, text in enumerate(texts) if position not in lacking]


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(lengths, 1e-12)
