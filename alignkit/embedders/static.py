"""The cheapest student that needs no training: WordLlama's table of token vectors. No transformer, no torch."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from alignkit.embedders.base import Role
from alignkit.embedders.digests import file_digest
from alignkit.embedders.table import TableEmbedder
from alignkit.embedders.table_files import TableFiles
from alignkit.extras import folder_of
from alignkit.setting_rules import check, whole

MODEL = "l2_supercat_256"


class StaticEmbedder(TableEmbedder):
    """The 256-d token table in the package wordllama (MIT); its files are read, its code is not run.

    Args:
        batch_size: texts per batch; larger ones are hardly faster.
        query_prompt: prepended to each query.
        document_prompt: prepended to each document.
        normalize: scale vectors to length 1; otherwise they are the plain averages.
    """

    def __init__(
        self, batch_size: int = 2048, query_prompt: str = "", document_prompt: str = "", normalize: bool = True
    ) -> None:
        check({"batch_size": batch_size}, {"batch_size": whole(1)})
        folder = folder_of("wordllama", "local")
        tokenizer = folder / "tokenizers" / "l2_supercat_tokenizer_config.json"
        files = TableFiles(folder / "weights" / f"{MODEL}.safetensors", tokenizer)
        self._open(files, batch_size, query_prompt, document_prompt, normalize)

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity; all of it is known here."""
        return {**super().settings(role), "backend": "static", "model": MODEL}

    def provenance(self) -> dict[str, Any]:
        """Versions of the packages that the table and the tokens come from."""
        return {"wordllama": importlib.metadata.version("wordllama"), **super().provenance()}

    def _digest_now(self) -> str:
        # the table's alone, as it has always been
        return file_digest(self._files.weights)
