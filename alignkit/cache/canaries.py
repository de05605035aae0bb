"""Does a server that changed its version still give the vectors that are stored? A few stored texts tell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.cache.checked import checked_batches
from alignkit.cache.keys import identity_digest
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import CacheError

if TYPE_CHECKING:
    from alignkit.cache.vector_cache import VectorCache

log = logging.getLogger(__name__)

CANARY_COSINE = 0.999
# differ from run to run without a change of what surrounds the model
FLEETING = ("date", "load_s")


def compare_canaries(
    cache: VectorCache, embedder: Embedder, role: Role, identity: Mapping[str, Any], provenance: Mapping[str, Any]
) -> None:
    """Embed a few stored texts again if what surrounds the model (server version, address, device) has changed.

    Raises:
        CacheError: if their vectors are now unlike the stored ones.
    """
    headers = cache.store.headers(identity_digest(identity))
    if not headers:
        return
    before = headers[-1].provenance
    names = sorted((before.keys() | provenance.keys()) - set(FLEETING))
    changes = [
        f"{name} {before.get(name)} -> {provenance.get(name)}"
        for name in names
        if before.get(name) != provenance.get(name)
    ]
    if not changes:
        return
    change = ", ".join(changes)
    texts = list(dict.fromkeys(text for header in headers[-2:] for text in header.canaries))
    lacking = set(cache.missing(identity, texts).tolist())
    texts = [text for position, text in enumerate(texts) if position not in lacking]
    cosines = [
        _cosines(batch.vectors, cache.gather(identity, [texts[position] for position in batch.indices]))
        for batch in checked_batches(embedder, texts, role, headers[-1].dim)
        if len(batch.indices)
    ]
    if not cosines:
        log.info("%s: no stored text is left to compare the vectors with; going on", change)
        return
    lowest = float(np.concatenate(cosines).min())
    if lowest < CANARY_COSINE:
        raise CacheError(
            f"{change}: {identity.get('model', 'the model')} now embeds texts unlike the vectors in {cache.folder} "
            f"(lowest cosine {lowest:.4f}, expected at least {CANARY_COSINE}); go back to what made them, or choose "
            "another cache_dir"
        )
    log.info("%s: stored texts still embed alike (lowest cosine %.5f); going on", change, lowest)


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (first * second).sum(axis=1) / np.maximum(lengths, 1e-12)
