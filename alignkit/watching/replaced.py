"""Whether a model still gives the vectors that the head was trained on, whatever its name says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alignkit.embedders.base import Embedder, Role, embed_all
from alignkit.embedders.steadiness import ALIKE
from alignkit.errors import ArtifactError
from alignkit.runs.held_out_sample import Canary

# vectors that no model is named of may come from an index that keeps them in few bits
ROUNDED = 0.9


def lowest_cosine(side: str, before: np.ndarray, now: np.ndarray) -> float:
    """Of vectors of a few texts, embedded again, with those of the training.

    Args:
        side: `student` or `teacher`.
        before: `(C, D)`.
        now: of the same texts.

    Raises:
        ArtifactError: if they have another width.
    """
    if before.shape != now.shape:
        raise ArtifactError(
            f"the {side} gives {now.shape[1]}-d vectors now, and gave {before.shape[1]}-d ones when the head was "
            f"trained; go back to the model that it was trained with, or train another head"
        )
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(now, axis=1)
    return float(((before * now).sum(axis=1) / np.maximum(lengths, 1e-12)).min())


def check_unreplaced(side: str, lowest: float, identity: Mapping[str, Any] | None, least: float = ALIKE) -> None:
    """Refuse a model that embeds texts of the training otherwise than then, beyond rounding.

    Args:
        side: `student` or `teacher`.
        lowest: see `lowest_cosine`.
        identity: of the model of the training; `None` where the head does not name it.
        least: that `lowest` must reach: what the model as it is now reaches with itself, see `Steadiness`.

    Raises:
        ArtifactError: if it was replaced.
    """
    expected = ROUNDED if identity is None else least
    if lowest < expected:
        raise ArtifactError(
            f"the {side} was replaced: texts that the run keeps are embedded otherwise than when the head was trained "
            f"(lowest cosine {lowest:.4f}, expected at least {expected:.4g}); go back to that model, pooling, "
            "quantisation and template, or train another head"
        )


def role_of_training(roles: Sequence[Role], teacher: Embedder, canary: Canary) -> tuple[Role, float]:
    """Of the roles that fit, the one whose prompt gives the vectors of the training, or comes nearest; and how near.

    Raises:
        EmbedderError: if the teacher gives no vectors.
        ArtifactError: if they have another width.
    """
    found: dict[Role, float] = {}
    for role in roles:
        found[role] = lowest_cosine("teacher", canary.teacher, embed_all(teacher, canary.texts, role))
        if found[role] >= ALIKE:
            break
    best = max(found, key=lambda role: found[role])
    return best, found[best]
