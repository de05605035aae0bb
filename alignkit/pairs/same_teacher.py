"""Whether a model that can be asked is the one whose vectors some texts have."""

from __future__ import annotations

import numpy as np

from alignkit.cache import VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.errors import ConfigError
from alignkit.pairs.base import Pairs

# texts that it is asked for, and how alike its vectors must be
COMPARED, SAME = 8, 0.98


def check_same_teacher(pairs: Pairs, teacher: Embedder, cache: VectorCache, role: Role, otherwise: str) -> int:
    """Ask it, through the cache, for a few of the texts.

    Args:
        pairs: with texts.
        teacher: that is asked.
        cache: open.
        role: whose prompt the texts' vectors were made with.
        otherwise: what can be done without that model, for the message.

    Returns:
        How many texts it was asked for.

    Raises:
        ConfigError: if it gives them other vectors than they have.
        EmbedderError: if it fails.
    """
    texts = list(pairs.texts or ())[:COMPARED]
    report = cache.fill(teacher, texts, role)
    rows = [row for row, text in enumerate(texts) if text not in report.quarantined]
    if not rows:
        return report.new
    given = np.asarray(pairs.teacher[np.array(rows)], dtype=np.float32)
    own = cache.gather(cache.identity_of(teacher, role), [texts[row] for row in rows])
    if own.shape[1] != given.shape[1]:
        found = f"{own.shape[1]} numbers a vector instead of {given.shape[1]}"
    else:
        alike = (given * own).sum(axis=1) / np.linalg.norm(given, axis=1) / np.linalg.norm(own, axis=1)
        if np.median(alike) >= SAME:
            return report.new
        found = f"vectors with a cosine of {np.median(alike):.2f} to these"
    raise ConfigError(
        f"teacher={teacher.settings(role).get('model')} gives the training texts {found}, so it is not the one whose "
        f"vectors they have; name that one, or {otherwise}"
    )
