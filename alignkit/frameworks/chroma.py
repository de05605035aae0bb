"""Chroma: a head as an embedding function that a collection finds again by itself (extra: chroma).

A process that opens such a collection imports this file: that registers the function under its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import ConfigError
from alignkit.extras import needing
from alignkit.frameworks.index_embedder import BY_HEAD, BY_TEACHER, IndexEmbedder

with needing("chroma"):
    from chromadb.api.types import EmbeddingFunction
    from chromadb.utils.embedding_functions import register_embedding_function

NAME = "alignkit"


@register_embedding_function
class AlignkitEmbeddingFunction(EmbeddingFunction):
    """Queries by student and head, documents by the teacher; see `IndexEmbedder` for the arguments.

    Chroma stores them with the collection, so student and teacher are given by name.

    Raises:
        ConfigError: if student or teacher is an object; otherwise as `IndexEmbedder`.
    """

    def __init__(
        self,
        head: str | Path,
        student: Any | None = None,
        teacher: Any | None = None,
        documents: str = BY_TEACHER,
        allow_student_mismatch: bool = False,
    ) -> None:
        self._embedder = IndexEmbedder(head, student, teacher, documents, allow_student_mismatch)
        self._embedder.config()  # Chroma would only warn, and open the collection later with a model of its own

    def __call__(self, input: list[str]) -> list[np.ndarray]:
        """Vectors of documents, `(dim,)` float32 each."""
        return list(self._embedder.documents(input))

    def embed_query(self, input: list[str]) -> list[np.ndarray]:
        """Vectors of queries, `(dim,)` float32 each."""
        return list(self._embedder.queries(input))

    @staticmethod
    def name() -> str:
        """What a collection calls this function."""
        return NAME

    def default_space(self) -> str:
        """How vectors are compared in a new collection."""
        return "cosine"

    def get_config(self) -> dict[str, Any]:
        """What is stored with the collection."""
        return self._embedder.config()

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> AlignkitEmbeddingFunction:
        """The function of a collection that is opened; nothing is loaded yet."""
        return AlignkitEmbeddingFunction(**config)

    def validate_config_update(self, old_config: dict[str, Any], new_config: dict[str, Any]) -> None:
        """Another head may serve the queries of a teacher's index; other documents belong into another collection.

        Raises:
            ConfigError: if documents would be embedded otherwise than those that are there.
        """
        decides = ["documents", "teacher"]
        if BY_HEAD in (old_config.get("documents"), new_config.get("documents")):
            decides = list(old_config)
        if changed := [one for one in decides if old_config.get(one) != new_config.get(one)]:
            raise ConfigError(
                f"{changed[0]}: documents of this collection were embedded otherwise; make another collection, and "
                "embed them again"
            )
