"""A trained head on disk: `head.json` says what it is, `head.safetensors` holds the numbers. No pickle is read."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from alignkit import __version__
from alignkit.artifact_parts import (
    CONFIDENCE,
    DOCUMENT_HEAD,
    QUERY_HEAD,
    UNFIT,
    WHITENING,
    built_parts,
    check_finite,
    stored_parts,
)
from alignkit.embedders.base import Role
from alignkit.errors import ArtifactError
from alignkit.files import appearing_together, write_whole
from alignkit.head_files import FORMAT_VERSION, JSON_NAME, WEIGHTS_NAME, read_head_files
from alignkit.heads.stored_parts import StoredParts

if TYPE_CHECKING:
    from alignkit.heads.base import Head, Part
    from alignkit.heads.confidence import ConfidenceEstimate


@dataclass(frozen=True)
class Artifact:
    """What an artifact holds.

    Embedding needs no torch where NumPy can apply the parts as they were stored; see `StoredParts`.

    Attributes:
        parts: name → module in evaluation mode; `query_head` always; where the head was trained with them, `whitening`
            (an affine map of its output, for queries that search the teacher's index), `document_head`, `confidence`.
        student_identity: of the embedder whose vectors the head takes, `None` for bare vectors.
        teacher_identity: of the embedder into whose space it maps, `None` for bare vectors.
        metrics: of the test split, as in `metrics.json`.
        meta: what else is worth knowing (how it was trained, versions).
    """

    parts: Mapping[str, Part]
    student_identity: dict[str, Any] | None = None
    teacher_identity: dict[str, Any] | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.parts, StoredParts):  # checked when it was read
            return
        from alignkit.heads.confidence import ConfidenceEstimate

        for name, part in self.parts.items():
            if isinstance(part, ConfidenceEstimate) != (name == CONFIDENCE):
                expected = "an estimate of confidence" if name == CONFIDENCE else "a head"
                raise ArtifactError(f"{name}: expected {expected}, got a part of the kind '{part.kind()}'")

    @property
    def student_dim(self) -> int:
        """Width of the student's vectors."""
        return self.parts.dims_of(QUERY_HEAD)[0] if isinstance(self.parts, StoredParts) else self.head.student_dim

    @property
    def teacher_dim(self) -> int:
        """Width of the teacher's vectors."""
        if isinstance(self.parts, StoredParts):
            return cast(int, self.parts.dims_of(QUERY_HEAD)[1])
        return self.head.teacher_dim

    def align(self, student: np.ndarray, role: Role = "query") -> np.ndarray:
        """Student vectors `(N, student_dim)` float32 → teacher space `(N, teacher_dim)`, not normalised.

        Queries go through the whitened head, where there is one: it is for searching the teacher's index alone.
        Documents become vectors of that index, so they go through the head as it imitates the teacher, or through one
        of their own.
        """
        if isinstance(self.parts, StoredParts):
            if role == "document":
                return self.parts.apply(DOCUMENT_HEAD if DOCUMENT_HEAD in self.parts else QUERY_HEAD, student)
            return self.parts.apply(QUERY_HEAD, student, WHITENING if WHITENING in self.parts else None)
        return _by_torch(self.document_head if role == "document" else self.query_head, student)

    def confidence_in(self, student: np.ndarray) -> np.ndarray | None:
        """How sure the head is of each row of `(N, student_dim)`: `(N,)` in [0, 1]; None where it has no estimate."""
        if CONFIDENCE not in self.parts:
            return None
        if isinstance(self.parts, StoredParts):
            return self.parts.apply(CONFIDENCE, student)
        return _by_torch(self.parts[CONFIDENCE], student).reshape(-1)

    @property
    def head(self) -> Head:
        """The head as it imitates the teacher: for documents, and for comparing two aligned texts with each other."""
        return cast("Head", self.parts[QUERY_HEAD])

    @property
    def document_head(self) -> Head:
        """The head that documents go through, where an index is made with the student; mostly `head`."""
        return cast("Head", self.parts.get(DOCUMENT_HEAD, self.head))

    @property
    def confidence(self) -> ConfidenceEstimate | None:
        """What tells how sure the head is of a query, where the artifact has it."""
        return cast("ConfidenceEstimate | None", self.parts.get(CONFIDENCE))

    @functools.cached_property
    def query_head(self) -> Head:
        """The head for queries that search the teacher's index: of the same size, with the whitening folded in."""
        if WHITENING not in self.parts:
            return self.head
        from alignkit.heads.folding import fold_output

        layer = cast("Head", self.parts[WHITENING]).output_layers()[0]
        return fold_output(self.head, layer.weight, layer.bias)

    def weights(self) -> bytes:
        """All numbers of all parts, as `head.safetensors` holds them."""
        if isinstance(self.parts, StoredParts):
            from safetensors.numpy import save

            return save(self.parts.tensors())
        from safetensors.torch import save as save_tensors

        return save_tensors(
            {
                f"{name}.{key}": tensor.detach().cpu().contiguous()
                for name, part in self.parts.items()
                for key, tensor in part.state_dict().items()
            }
        )

    def digest(self) -> str:
        """SHA-256 of the weights, as hexadecimal; `weights_sha256` of `head.json`."""
        return hashlib.sha256(self.weights()).hexdigest()


def save_artifact(artifact: Artifact, folder: str | Path) -> Path:
    """Write the two files; both appear, or where one of them is in use neither does.

    Returns:
        The folder.

    Raises:
        ArtifactError: if a part holds NaN or infinite numbers; nothing is written then.
        AlignkitError: if the disk refuses; what was there before is as it was.
    """
    folder = Path(folder)
    check_finite(artifact.parts, f"{folder}: not saved")
    weights = artifact.weights()
    head = artifact.head
    description = {
        "format_version": FORMAT_VERSION,
        "alignkit_version": __version__,
        "student_dim": head.student_dim,
        "teacher_dim": head.teacher_dim,
        "parts": {name: {"kind": part.kind(), "arguments": part.arguments()} for name, part in artifact.parts.items()},
        "student_identity": artifact.student_identity,
        "teacher_identity": artifact.teacher_identity,
        "metrics": artifact.metrics,
        "meta": artifact.meta,
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }
    text = json.dumps(description, indent=2, ensure_ascii=False, allow_nan=False)
    with appearing_together(folder) as unfinished:
        write_whole(unfinished / WEIGHTS_NAME, weights)
        write_whole(unfinished / JSON_NAME, text.encode())
    return folder


def load_artifact(path: str | Path) -> Artifact:
    """Read an artifact: a folder of the two files, a run folder with `head/`, a bundle, or `hf://user/repo@revision`.

    Raises:
        ArtifactError: if a file is missing or damaged, was changed since it was saved, holds numbers that are not
            finite, or needs a newer alignkit.
        HubError: if the Hub refuses.
    """
    return build_artifact(*read_head_files(path))


def build_artifact(description: Mapping[str, Any], weights: bytes, name: str) -> Artifact:
    """Build the parts from what the two files hold.

    Args:
        description: `head.json`, parsed.
        weights: the bytes of `head.safetensors`.
        name: of the artifact, for messages.

    Raises:
        ArtifactError: as `load_artifact`.
    """
    if hashlib.sha256(weights).hexdigest() != description.get("weights_sha256"):
        raise ArtifactError(
            f"{name}: {WEIGHTS_NAME} is not the file that {JSON_NAME} was written with (sha256 differs); "
            "copy both again, or train again"
        )
    try:
        _check_kinds(description)
        return Artifact(
            parts=stored_parts(description["parts"], weights) or built_parts(description["parts"], weights, name),
            student_identity=description["student_identity"],
            teacher_identity=description["teacher_identity"],
            metrics=description["metrics"],
            meta=description["meta"],
        )
    except UNFIT as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ArtifactError(
            f"{name}: {JSON_NAME} and {WEIGHTS_NAME} do not describe a head ({message}); copy both from the same run "
            "again, or train again"
        ) from None


def _by_torch(part: Part, student: np.ndarray) -> np.ndarray:
    import torch

    with torch.inference_mode():
        return part(torch.from_numpy(student)).float().numpy()


def save_head(head: Head, folder: str | Path, **about: Any) -> Path:
    """Save one head; `about` are the other fields of `Artifact`.

    Raises:
        ArtifactError: as `save_artifact`.
    """
    return save_artifact(Artifact(parts={QUERY_HEAD: head}, **about), folder)


def load_head(path: str | Path) -> Head:
    """The head that queries go through, on the CPU, in evaluation mode; see `Artifact.query_head`.

    Raises:
        ArtifactError: as `load_artifact`.
    """
    return load_artifact(path).query_head


def _check_kinds(description: Mapping[str, Any]) -> None:
    """What is told of a head is settings by name: whoever reads on relies on it."""
    for name, optional in {"student_identity": True, "teacher_identity": True, "metrics": False, "meta": False}.items():
        value = description[name]
        if not isinstance(value, dict) and not (optional and value is None):
            raise ValueError(f"{name}: expected settings by name, got {type(value).__name__}")
