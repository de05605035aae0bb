"""A student that is a table of token vectors: the mean of a text's rows. No transformer, no torch."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.embedders.base import EmbeddedBatch, Role
from alignkit.embedders.embeddable import admit
from alignkit.embedders.model_folders import is_fitted
from alignkit.embedders.rows import batch_of
from alignkit.embedders.table_files import EXPECTED, TableFiles, find_table
from alignkit.embedders.token_table import TokenTable
from alignkit.errors import ConfigError, EmbedderError
from alignkit.extras import needing
from alignkit.hub.fetching import model_path
from alignkit.setting_names import SettingNames
from alignkit.setting_rules import check, whole

NO_TOKENS = "no token of the text is in the table"


class TableEmbedder:
    """Any folder that sentence-transformers' StaticEmbedding or model2vec has saved.

    Args:
        path: of the folder, or `hf://user/repo@revision`.
        batch_size: texts per batch; larger ones are hardly faster.
        query_prompt: prepended to each query.
        document_prompt: prepended to each document.
        normalize: scale vectors to length 1; otherwise they are the plain averages.

    Raises:
        ConfigError: if no folder is given.
        EmbedderError: if it holds no token table.

    Attributes:
        is_fitted: whether its rows were fitted to texts, or trained on them.
    """

    is_fitted = False

    def __init__(
        self,
        path: str | Path | None,
        batch_size: int = 2048,
        query_prompt: str = "",
        document_prompt: str = "",
        normalize: bool = True,
    ) -> None:
        check({"batch_size": batch_size}, {"batch_size": whole(1)})
        if path is None or not str(path).strip():
            raise ConfigError(
                f"{SettingNames()('path')} is not set; {EXPECTED}; python -m alignkit.distill student=table makes one, "
                "student=NAME takes another student"
            )
        folder = model_path(path)
        self._open(find_table(folder), batch_size, query_prompt, document_prompt, normalize)
        self.is_fitted = is_fitted(folder)

    def _open(
        self, files: TableFiles, batch_size: int, query_prompt: str, document_prompt: str, normalize: bool
    ) -> None:
        self._files = files
        self._batch_size = batch_size
        self._prompts: dict[Role, str] = {"query": query_prompt, "document": document_prompt}
        self._normalize = normalize
        self._table: TokenTable | None = None
        self._known_digest: str | None = None

    @property
    def dim(self) -> int:
        """Width of the table."""
        return int(self.table.rows.shape[1])

    @property
    def table(self) -> TokenTable:
        """Rows and tokenizer, read at first use.

        Raises:
            EmbedderError: if a file is damaged, or was changed meanwhile.
        """
        if self._table is None:
            before = self._digest()
            table = self._files.read()
            if self._digest_now() != before:
                raise EmbedderError(f"{self._files.weights} was changed while it was in use; run the command again")
            self._table = table
        return self._table

    @property
    def weights_mb(self) -> float:
        """What the table weighs in memory."""
        return self.table.rows.nbytes / 1e6

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity; all of it is known here. The folder's place and name do not matter."""
        digest = self._digest()
        return {
            "backend": "table",
            "model": f"table-{digest[:8]}",
            "digest": digest,
            "prompt": self._prompts[role],
            "normalize": self._normalize,
        }

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """What determines a vector."""
        return self.settings(role)

    def provenance(self) -> dict[str, Any]:
        """Version of the package that splits texts into tokens."""
        return {"tokenizers": importlib.metadata.version("tokenizers")}

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches in the order of the texts; see `Embedder`."""
        prompt = self._prompts[role]
        for start in range(0, len(texts), self._batch_size):
            positions, failures = admit(texts[start : start + self._batch_size])
            failures = {start + position: reason for position, reason in failures.items()}
            indices = start + np.array(positions, dtype=np.int64)
            yield self._embed_batch([prompt + texts[place] for place in indices.tolist()], indices, failures)

    def modules(self, role: Role = "document") -> list[Any]:
        """The table as sentence-transformers modules, which the caller may change."""
        with needing("local"):
            from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
            from tokenizers import Tokenizer

        rows = self.table.rows.copy()
        if self.table.dropped is not None:
            rows[self.table.dropped] = 0
        averaging = StaticEmbedding(Tokenizer.from_str(self.table.tokenizer.to_str()), embedding_weights=rows)
        return [averaging, Normalize()] if self._normalize else [averaging]

    def close(self) -> None:
        """Release the table; may be called twice."""
        self._table = None

    def _digest(self) -> str:
        """Digest of the files at first use: the table in memory is from those, see `table`."""
        if self._known_digest is None:
            self._known_digest = self._digest_now()
        return self._known_digest

    def _digest_now(self) -> str:
        return self._files.digest()

    def _embed_batch(self, texts: list[str], indices: np.ndarray, failures: dict[int, str]) -> EmbeddedBatch:
        vectors, has_tokens = self.table.means(texts)
        if not (known := has_tokens & vectors.any(axis=1)).all():
            failures |= dict.fromkeys(indices[~known].tolist(), NO_TOKENS)
            indices, vectors = indices[known], vectors[known]
        return batch_of(indices, vectors, failures, unit=self._normalize)
