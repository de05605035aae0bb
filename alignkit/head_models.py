"""Whether a student and a teacher are those that a head was trained with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from alignkit.artifact import Artifact
from alignkit.embedders.base import ROLES, Embedder, Role
from alignkit.embedders.sameness import differences, differences_of_models
from alignkit.errors import ArtifactError

logger = logging.getLogger(__name__)


def check_student(artifact: Artifact, student: Embedder, allow_mismatch: bool) -> Role:
    """Whether this is the student whose vectors the head takes.

    Returns:
        The role whose prompt made the vectors that the head was trained on.

    Raises:
        ArtifactError: if it is another student and that is not allowed, or its vectors have another width.
    """
    bare = artifact.student_identity is None
    identities = {} if bare else {role: student.identity(role) for role in ROLES}
    return check_identities(artifact, student.dim, identities, allow_mismatch)


def check_identities(
    artifact: Artifact, dim: int, identities: Mapping[Role, Mapping[str, Any]], allow_mismatch: bool
) -> Role:
    """The same of a student that is known by name alone, while nothing can be asked of it.

    Args:
        artifact: the head.
        dim: width of the student's vectors.
        identities: of the student, for one role or both; not looked at where the head was trained on bare vectors.
        allow_mismatch: go on, with a warning, where it is another student.

    Raises:
        ArtifactError: as `check_student`.
    """
    expected_dim = artifact.student_dim
    if dim != expected_dim:
        raise ArtifactError(
            f"the student gives {dim}-d vectors, this head expects {expected_dim}-d; "
            "use the student that it was trained with, or train another head"
        )
    recorded = artifact.student_identity
    if recorded is None:
        logger.warning(
            "the head was trained on bare vectors, so nothing tells whether this student made them; "
            "going on with the student that was given"
        )
        return "query"
    for role, identity in identities.items():
        if not differences(recorded, identity):
            return role
    role, identity = min(identities.items(), key=lambda item: len(differences(recorded, item[1])))
    message = f"the head was trained with another student ({'; '.join(differences(recorded, identity))})"
    if not allow_mismatch:
        raise ArtifactError(
            f"{message}; use that student, train a head for this one, or go on all the same with "
            "allow_student_mismatch=true"
        )
    logger.warning("%s; going on, as allow_student_mismatch=true says", message)
    return role


def check_teacher(artifact: Artifact, teacher: Embedder, role: Role) -> None:
    """Whether this is the teacher into whose space the head maps.

    Args:
        artifact: the head.
        teacher: the model.
        role: of the texts that it embeds beside the head. Documents may carry another prompt than the training's texts;
            queries take the head's place, so one of the model's prompts must be that of the training.

    Raises:
        ArtifactError: if it is another teacher, or its vectors have another width.
    """
    check_teacher_width(artifact, teacher.dim)
    recorded = artifact.teacher_identity
    if recorded is None:
        logger.warning("the head does not say which teacher it was trained with; going on with the one that was given")
    elif role == "query":
        teacher_roles(artifact, teacher.dim, {one: teacher.identity(one) for one in ROLES})
    elif found := differences_of_models(recorded, teacher.identity(role)):
        raise _another_teacher(found)


def teacher_roles(artifact: Artifact, dim: int, identities: Mapping[Role, Mapping[str, Any]]) -> list[Role]:
    """Whose prompt may have made the teacher's vectors that the head was trained on.

    Args:
        artifact: the head.
        dim: width of the teacher's vectors.
        identities: of the teacher, for each role.

    Returns:
        `query` first where both roles fit, or the head does not name its teacher.

    Raises:
        ArtifactError: as `check_teacher`.
    """
    check_teacher_width(artifact, dim)
    recorded, roles = artifact.teacher_identity, sorted(ROLES, reverse=True)
    if recorded is None:
        return roles
    found = {role: differences(recorded, identities[role]) for role in roles}
    if all(found.values()):
        raise _another_teacher(min(found.values(), key=len))
    return [role for role, different in found.items() if not different]


def check_teacher_width(artifact: Artifact, dim: int) -> None:
    """The same of the width of its vectors alone.

    Raises:
        ArtifactError: if it is another one.
    """
    if dim != artifact.teacher_dim:
        raise ArtifactError(
            f"the teacher gives {dim}-d vectors, this head makes {artifact.teacher_dim}-d ones; give the teacher that "
            "it was trained with"
        )


def _another_teacher(found: list[str]) -> ArtifactError:
    return ArtifactError(
        f"the head was trained with another teacher ({'; '.join(found[:3])}); give the teacher that it was trained "
        "with, or train a head for this one"
    )
