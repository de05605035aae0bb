"""Under which identity the cache files an embedder's vectors: its own, or a stored one that means the same."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from alignkit.cache.canaries import lowest_cosine
from alignkit.cache.keys import identity_digest
from alignkit.cache.lookup import Lookup
from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.sameness import FILES, agrees, differences, same_vectors
from alignkit.errors import EmbedderError

log = logging.getLogger(__name__)

# of vectors by the same weights, as they are stored in float16; another quantisation stays below
SAME_COSINE = 0.99999


def identity_of(lookup: Lookup, embedder: Embedder, role: Role = "document") -> dict[str, Any]:
    """The embedder's identity as the cache files it; from memory while its server does not answer.

    Raises:
        EmbedderError: if the server does not answer and the cache has never seen the model.
    """
    models = lookup.models
    try:
        live = embedder.identity(role)
        with models.lock:
            _take_for_same(lookup, embedder, role, live)
        return models.same(live)[0]
    except EmbedderError as error:
        identity = models.remembered(embedder.settings(role))
        if identity is None:
            raise
        log.warning("%s Using what the cache remembers of the model.", f"{error}".rstrip(".") + ".")
        return identity


def _take_for_same(lookup: Lookup, embedder: Embedder, role: Role, identity: Mapping[str, Any]) -> None:
    """Where the cache holds vectors of the model's name but not of its files: are they the same after all?

    Older versions stored the manifest's digest alone, which any parameter changes. If stored texts embed to the very
    same vectors, the cache goes on using them; otherwise the log says that the texts are embedded again, and why.
    """
    models, digest = lookup.models, identity_digest(identity)
    if digest in models.taken_for_same or any(same_vectors(known, identity) for known in models.identities()):
        return
    rest = {name: value for name, value in identity.items() if name not in FILES}
    stored = next((known for known in models.identities() if agrees(known, rest)), None)
    if stored is None:
        return
    change = "; ".join(differences(stored, identity))
    name = identity.get("model", "the model")
    models.taken_for_same[digest] = None
    if ("weights" in stored) != ("weights" in identity):
        try:
            lowest = lowest_cosine(lookup, embedder, role, stored)
        except EmbedderError:
            return
        if lowest is not None and lowest >= SAME_COSINE:
            log.info("%s: %s, but stored texts embed to the same vectors; going on with them", name, change)
            models.taken_for_same[digest] = stored
            return
    log.warning(
        "%s is not the model whose vectors are in %s (%s); its texts are embedded again",
        name,
        lookup.store.folder,
        change,
    )
