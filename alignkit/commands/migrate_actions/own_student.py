"""The student that the head was trained with, and whether it made the index that is to be moved."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig

from alignkit.artifact import Artifact
from alignkit.commandline import build
from alignkit.commandline.sides import complete_sides
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError
from alignkit.indexes.base import VectorIndex
from alignkit.migration.engine_notes import name_of
from alignkit.migration.same_student import compare_with_student, expect_same_student


class OwnStudent:
    """The head's student, completed from the head where the command names none.

    Args:
        config: of the command.
        settings: the rest of it, as plain values.
        artifact: the head.
    """

    def __init__(self, config: DictConfig, settings: dict[str, Any], artifact: Artifact) -> None:
        self.config, self.settings, self.artifact = config, settings, artifact

    def open(self) -> Embedder:
        """The embedder, to be closed."""
        complete_sides(self.config, self.artifact, self.settings["head"], {"student": "two_layer"})
        return build(self.config.student, "student")

    def made(self, index: VectorIndex, *, force: bool) -> str:
        """What embedding a sample of the index's rows again shows, or why nothing is shown.

        Raises:
            ConfigError: if another model made the index, unless forced.
        """
        identity, source = self.artifact.student_identity, self.settings["source"]
        place, name = index.describe().place, name_of(identity, "bare vectors")
        unknown = f"the head was trained on {name}; whether it made this index is not checked: "
        if source.get("text") is None and source.get("texts") is None:
            return f"{unknown}name the texts that were embedded, source.text=…"
        if identity is None and self.config.get("student") is None:
            return f"{unknown}name it, student=…"
        try:
            student = self.open()
            try:
                found = compare_with_student(index, student)
            finally:
                student.close()
        except AlignkitError as error:
            return f"{unknown}{error}"
        if found is None:
            return f"{unknown}no row of the sample has a text and a vector"
        if not force:
            expect_same_student(found, place, name)
        return (
            f"{found.same} of {found.rows} rows, embedded again, hold the vector of {name} (median cosine "
            f"{found.median:.4f})"
        )
