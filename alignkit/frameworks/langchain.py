"""LangChain: a head as `Embeddings` (extra: langchain)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignkit.extras import needing
from alignkit.frameworks.index_embedder import BY_TEACHER, IndexEmbedder

with needing("langchain", "langchain-core"):
    from langchain_core.embeddings import Embeddings


class AlignkitEmbeddings(Embeddings):
    """Queries by student and head, documents by the teacher; see `IndexEmbedder` for the arguments.

    The asynchronous methods are LangChain's own: they call these in a thread.
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

    def embed_query(self, text: str) -> list[float]:
        """A query's vector in the teacher's space, of length 1."""
        return self._embedder.queries([text])[0].tolist()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Vectors of documents, of length 1: by the teacher, or with `documents="head"` by student and head."""
        return self._embedder.documents(texts).tolist()
