"""Whether a model still gives the vectors that the head was trained on, whatever its name says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alignkit.artifact import Artifact
from alignkit.embedders.base import ROLES, Role
from alignkit.embedders.sameness import differences
from alignkit.errors import ArtifactError

ALIKE = 0.999


def check_unreplaced(side: str, before: np.ndarray, now: np.ndarray) -> float:
    """Compare vectors of a few texts, embedded again, with those of the training.

    Args:
        side: `student` or `teacher`.
        before: `(C, D)`.
        now: of the same texts.

    Returns:
        The lowest cosine.

    Raises:
        ArtifactError: if they differ by more than rounding.
    """
    if before.shape != now.shape:
        raise ArtifactError(
            f"the {side} gives {now.shape[1]}-d vectors now, and gave {before.shape[1]}-d ones when the head was "
            f"trained; go back to the model that it was trained with, or train another head"
        )
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(now, axis=1)
    lowest = float(((before * now).sum(axis=1) / np.maximum(lengths, 1e-12)).min())
    if lowest < ALIKE:
        raise ArtifactError(
            f"the {side} was replaced: {len(now)} texts that the run keeps are embedded otherwise than when the head "
            f"was trained (lowest cosine {lowest:.4f}, expected at least {ALIKE}); go back to that model, pooling, "
            f"quantisation and template, or train another head"
        )
    return lowest


def teacher_role(artifact: Artifact, dim: int, identities: Mapping[Role, Mapping[str, Any]]) -> Role:
    """Whether this is the teacher that the head was trained for, and whose prompt made its vectors then.

    Args:
        artifact: the head.
        dim: width of the teacher's vectors.
        identities: of the teacher, for each role.

    Returns:
        `query` where both roles fit, or the head does not name its teacher.

    Raises:
        ArtifactError: if it is another teacher.
    """
    if dim != artifact.teacher_dim:
        raise ArtifactError(
            f"the teacher gives {dim}-d vectors, this head imitates {artifact.teacher_dim}-d ones; "
            "ask the teacher that it was trained for"
        )
    recorded = artifact.teacher_identity
    if recorded is None:
        return "query"
    found = {role: differences(recorded, identities[role]) for role in sorted(ROLES, reverse=True)}
    if all(found.values()):
        least = min(found.values(), key=len)
        raise ArtifactError(
            f"the head was trained for another teacher ({'; '.join(least[:3])}); ask that one, or train a head for this"
        )
    return next(role for role, different in found.items() if not different)
