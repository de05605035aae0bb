"""LlamaIndex: a head as `BaseEmbedding` (extra: llamaindex)."""

from __future__ import annotations

import asyncio
from typing import Any

from alignkit.errors import ConfigError
from alignkit.extras import needing
from alignkit.frameworks.index_embedder import BY_TEACHER, IndexEmbedder
from alignkit.setting_rules import did_you_mean

with needing("llamaindex", "llama-index-core"):
    from llama_index.core.base.embeddings.base import BaseEmbedding
    from llama_index.core.bridge.pydantic import Field, PrivateAttr

TEXTS_AT_ONCE = 256


class AlignkitEmbedding(BaseEmbedding):
    """Queries by student and head, texts of nodes by the teacher; see `IndexEmbedder` for the arguments."""

    head: str = Field(frozen=True, description="A run folder, its head/, or a bundle.")
    student: Any | None = Field(
        default=None, frozen=True, description="By name, or by name with settings; null: the head's own."
    )
    teacher: Any | None = Field(default=None, frozen=True, description="Likewise, for texts of nodes.")
    documents: str = Field(default=BY_TEACHER, frozen=True, description="Who embeds texts of nodes: teacher, or head.")
    allow_student_mismatch: bool = Field(
        default=False, frozen=True, description="Go on where the student is another one."
    )
    _embedder: IndexEmbedder = PrivateAttr()

    def __init__(self, head: Any, **settings: Any) -> None:
        head, known = str(head), type(self).model_fields
        if unknown := next((name for name in settings if name not in known), None):  # pydantic would drop it unsaid
            names = f"{', '.join(known)}{did_you_mean(unknown, known)}"
            raise ConfigError(f"AlignkitEmbedding has no setting '{unknown}'; it has {names}")
        super().__init__(**{"model_name": head, "embed_batch_size": TEXTS_AT_ONCE, **settings, "head": head})
        self._embedder = IndexEmbedder(
            head, self.student, self.teacher, self.documents, self.allow_student_mismatch
        )  # fmt: skip

    @classmethod
    def class_name(cls) -> str:
        """What a stored index calls this class."""
        return "AlignkitEmbedding"

    def __getstate__(self) -> dict[str, Any]:
        # LlamaIndex leaves out of a pickle what cannot be pickled: an object would be replaced by the head's own model
        self._embedder.config()
        state: dict[str, Any] = super().__getstate__()
        return state

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.queries([query])[0].tolist()

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.documents(texts).tolist()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)
