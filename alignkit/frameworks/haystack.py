"""Haystack: a head as the components that embed queries and documents (extra: haystack)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from alignkit.errors import ConfigError
from alignkit.extras import needing
from alignkit.frameworks.index_embedder import BY_TEACHER, IndexEmbedder

with needing("haystack", "haystack-ai"):
    from haystack import Document, component, default_from_dict, default_to_dict


@component
class AlignkitTextEmbedder:
    """Embeds a query by student and head.

    Args:
        head: see `IndexEmbedder`.
        student: see `IndexEmbedder`.
        allow_student_mismatch: see `IndexEmbedder`.
    """

    def __init__(
        self, head: str | Path, student: Any | None = None, allow_student_mismatch: bool = False
    ) -> None:  # fmt: skip
        self._embedder = IndexEmbedder(head, student, allow_student_mismatch=allow_student_mismatch)

    def warm_up(self) -> None:
        """Load head and student; harmless twice."""
        self._embedder.warm_up()

    async def warm_up_async(self) -> None:
        """The same in a thread."""
        await asyncio.to_thread(self.warm_up)

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    def run(self, text: str) -> dict[str, Any]:
        """The vector of a query in the teacher's space, of length 1.

        Raises:
            ConfigError: if it is no text.
        """
        if not isinstance(text, str):
            raise ConfigError(
                f"text: expected a text, got a {type(text).__name__}; AlignkitDocumentEmbedder embeds documents"
            )
        return {"embedding": self._embedder.queries([text])[0].tolist(), "meta": {"model": self._embedder.head}}

    @component.output_types(embedding=list[float], meta=dict[str, Any])
    async def run_async(self, text: str) -> dict[str, Any]:
        """The same in a thread."""
        return await asyncio.to_thread(self.run, text)

    def to_dict(self) -> dict[str, Any]:
        """What a stored pipeline says of this component."""
        config = self._embedder.config()
        return default_to_dict(self, **{name: config[name] for name in ("head", "student", "allow_student_mismatch")})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AlignkitTextEmbedder:
        """The component of a stored pipeline."""
        return default_from_dict(cls, data)

    def close(self) -> None:
        """Free the models."""
        self._embedder.close()


@component
class AlignkitDocumentEmbedder:
    """Embeds documents by the teacher, for an index that the teacher built.

    Args:
        head: see `IndexEmbedder`.
        teacher: see `IndexEmbedder`.
        student: see `IndexEmbedder`; it embeds documents with `documents="head"`.
        documents: see `IndexEmbedder`.
        meta_fields_to_embed: fields of a document's meta that stand before its text, such as a title.
        embedding_separator: between these and the text.
        allow_student_mismatch: see `IndexEmbedder`.
    """

    def __init__(
        self,
        head: str | Path,
        teacher: Any | None = None,
        student: Any | None = None,
        documents: str = BY_TEACHER,
        meta_fields_to_embed: list[str] | None = None,
        embedding_separator: str = "\n",
        allow_student_mismatch: bool = False,
    ) -> None:
        self._embedder = IndexEmbedder(head, student, teacher, documents, allow_student_mismatch)
        self._fields, self._separator = list(meta_fields_to_embed or []), embedding_separator

    def warm_up(self) -> None:
        """Load what embeds documents; harmless twice."""
        self._embedder.warm_up_documents()

    async def warm_up_async(self) -> None:
        """The same in a thread."""
        await asyncio.to_thread(self.warm_up)

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    def run(self, documents: list[Document]) -> dict[str, Any]:
        """Copies of the documents, each with its vector of length 1.

        Raises:
            ConfigError: if these are no documents.
        """
        if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
            raise ConfigError("documents: expected a list of Document; AlignkitTextEmbedder embeds a query")
        vectors = self._embedder.documents([self._text(one) for one in documents])
        embedded = [replace(one, embedding=row.tolist()) for one, row in zip(documents, vectors, strict=True)]
        return {"documents": embedded, "meta": {"model": self._embedder.head}}

    @component.output_types(documents=list[Document], meta=dict[str, Any])
    async def run_async(self, documents: list[Document]) -> dict[str, Any]:
        """The same in a thread."""
        return await asyncio.to_thread(self.run, documents)

    def to_dict(self) -> dict[str, Any]:
        """What a stored pipeline says of this component."""
        return default_to_dict(
            self,
            **self._embedder.config(),
            meta_fields_to_embed=self._fields,
            embedding_separator=self._separator,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> AlignkitDocumentEmbedder:
        """The component of a stored pipeline."""
        return default_from_dict(cls, data)

    def close(self) -> None:
        """Free the models."""
        self._embedder.close()

    def _text(self, document: Document) -> str:
        before = [str(document.meta[name]) for name in self._fields if document.meta.get(name) is not None]
        return self._separator.join([*before, document.content or ""])
