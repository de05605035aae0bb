"""The closed-form rivals that a run keeps beside its head: `baselines/ridge` and `baselines/mean`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from alignkit.artifact import Artifact, load_artifact, save_head
from alignkit.heads.base import Head
from alignkit.runs.folder import BASELINES

NAMES = ("ridge", "mean")


def save_baselines(run: Path, baselines: Mapping[str, Head], artifact: Artifact) -> None:
    """Keep them beside the head that they are the rivals of.

    Raises:
        AlignkitError: if they cannot be written.
    """
    for name, head in baselines.items():
        save_head(
            head, run / BASELINES / name,
            student_identity=artifact.student_identity, teacher_identity=artifact.teacher_identity,
        )  # fmt: skip


def load_baselines(run: Path | None) -> dict[str, Head]:
    """`ridge` and `mean` as `train` kept them; none for a bare head.

    Raises:
        ArtifactError: if one is damaged.
    """
    if run is None:
        return {}
    return {
        name: load_artifact(run / BASELINES / name).head
        for name in NAMES
        if (run / BASELINES / name / "head.json").is_file()
    }
