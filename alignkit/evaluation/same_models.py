"""Whether a head and a set of vectors come from the same models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.artifact import Artifact
from alignkit.embedders.base import Embedder
from alignkit.embedders.sameness import differences_of_models
from alignkit.errors import ArtifactError, EmbedderError
from alignkit.pairs.evaluation_set import EvaluationSet


def check_fit(artifact: Artifact, test: EvaluationSet) -> None:
    """Refuse vectors that the head was not made for.

    Raises:
        ArtifactError: if widths differ, or both sides say which model made them and it is not the same; it names both.
    """
    head = artifact.head
    sides = (
        ("student", head.student_dim, test.queries.student, artifact.student_identity),
        ("teacher", head.teacher_dim, test.queries.teacher, artifact.teacher_identity),
    )
    for name, expected, vectors, trained_with in sides:
        made_by = test.origin.identity(name)
        if vectors.shape[1] != expected:
            raise ArtifactError(
                f"the {name} vectors are {vectors.shape[1]}-d ({model_name(made_by)}), this head expects {expected}-d "
                f"({model_name(trained_with)}); evaluate with the {name} that it was trained with"
            )
        _check_model(name, made_by, trained_with)


def check_models(artifact: Artifact, embedders: Mapping[str, Embedder]) -> None:
    """Refuse models that the head was not trained with before they embed anything, which can be slow and cost money.

    A server that does not answer is not refused here: the cache may hold everything, and `check_fit` follows.

    Args:
        artifact: the head.
        embedders: `student` and `teacher`.

    Raises:
        ArtifactError: if one of them is another model than the head's; it names both.
    """
    for name, trained_with in _identities(artifact).items():
        if trained_with is None or name not in embedders:
            continue
        try:
            made_by = embedders[name].identity("query")
        except EmbedderError:
            continue
        _check_model(name, made_by, trained_with)


def doubts_of(artifact: Artifact, test: EvaluationSet) -> list[str]:
    """What cannot be checked: a head that does not name its models may have been trained with others."""
    doubts = []
    for name, trained_with in _identities(artifact).items():
        made_by = test.origin.identity(name)
        if made_by and trained_with is None:
            doubts.append(
                f"the head does not say which {name} it was trained with; these {name} vectors are by "
                f"{model_name(made_by)}, and if that is another model, the figures say nothing about the head"
            )
    return doubts


def _identities(artifact: Artifact) -> dict[str, dict[str, Any] | None]:
    return {"student": artifact.student_identity, "teacher": artifact.teacher_identity}


def _check_model(name: str, made_by: Mapping[str, Any] | None, trained_with: Mapping[str, Any] | None) -> None:
    if made_by and trained_with and (found := differences_of_models(trained_with, made_by)):
        raise ArtifactError(
            f"the {name} vectors are by {model_name(made_by)}, this head was trained with "
            f"{model_name(trained_with)} ({'; '.join(found[:3])}); "
            f"evaluate with the {name} that it was trained with"
        )


def model_name(identity: Mapping[str, Any] | None) -> str:
    """How an identity is called in a sentence.

    >>> model_name({"backend": "ollama", "model": "bge-m3"}), model_name(None)
    ('bge-m3', 'an unknown model')
    """
    if not identity:
        return "an unknown model"
    name = str(identity.get("model") or identity.get("backend") or "an unknown model")
    return f"{name}, first {identity['layers']} layers" if identity.get("layers") else name
