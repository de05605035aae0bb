"""The cheapest student: the average of a text's token vectors from a table. No transformer, no torch."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.embedders.base import EmbeddedBatch, Role
from alignkit.embedders.digests import file_digest
from alignkit.embedders.embeddable import admit
from alignkit.embedders.rows import batch_of, unit_rows
from alignkit.embedders.word_tokens import WordTokens
from alignkit.errors import EmbedderError, MissingExtraError
from alignkit.setting_rules import check, whole

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MODEL = "l2_supercat_256"
NO_TOKENS = "no token is left of the text"


class StaticEmbedder:
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
        self._prompts: dict[Role, str] = {"query": query_prompt, "document": document_prompt}
        self._batch_size = batch_size
        self._normalize = normalize
        self._folder = _package_folder("wordllama")
        self._loaded: tuple[WordTokens, np.ndarray] | None = None
        self._file_digest: str | None = None

    @property
    def dim(self) -> int:
        """Width of the table."""
        return int(self._load()[1].shape[1])

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity; all of it is known here."""
        return {
            "backend": "static",
            "model": MODEL,
            "digest": self._digest(),
            "prompt": self._prompts[role],
            "normalize": self._normalize,
        }

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """What determines a vector."""
        return self.settings(role)

    def provenance(self) -> dict[str, Any]:
        """Versions of the packages that the table and the tokens come from."""
        return {name: importlib.metadata.version(name) for name in ("wordllama", "tokenizers")}

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches in the order of the texts; see `Embedder`."""
        prompt = self._prompts[role]
        for start in range(0, len(texts), self._batch_size):
            positions, failures = admit(texts[start : start + self._batch_size])
            failures = {start + position: reason for position, reason in failures.items()}
            yield self._embed_batch([prompt + texts[start + place] for place in positions], positions, start, failures)

    def modules(self, role: Role = "document") -> list[Any]:
        """The table as sentence-transformers modules, which the caller may change."""
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtraError("sentence-transformers", "local")
        from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

        table = self._load()[1]
        averaging = StaticEmbedding(self._tokenizer(), embedding_weights=table.copy())
        return [averaging, Normalize()] if self._normalize else [averaging]

    def close(self) -> None:
        """Release the table; may be called twice."""
        self._loaded = None

    def _digest(self) -> str:
        """Digest of the file at first use: the table in memory is from that file, see `_load`."""
        if self._file_digest is None:
            self._file_digest = file_digest(self._table_file)
        return self._file_digest

    @property
    def _table_file(self) -> Path:
        return self._folder / "weights" / f"{MODEL}.safetensors"

    def _embed_batch(
        self, texts: list[str], positions: list[int], start: int, failures: dict[int, str]
    ) -> EmbeddedBatch:
        from scipy.sparse import csr_array

        tokens_of, table = self._load()
        tokens, counts = tokens_of(texts)
        indices = start + np.array(positions, dtype=np.int64)
        failures |= dict.fromkeys(indices[counts == 0].tolist(), NO_TOKENS)
        # row i of this matrix averages text i's tokens: the result is the same alone and in any batch
        weights = np.repeat((1 / np.maximum(counts, 1)).astype(np.float32), counts)
        average = csr_array((weights, tokens, np.append(0, np.cumsum(counts))), shape=(len(texts), len(table)))
        kept = counts > 0
        vectors = np.asarray(average @ table, dtype=np.float32)[kept]
        batch = batch_of(indices[kept], vectors, failures)
        return EmbeddedBatch(batch.indices, unit_rows(batch.vectors), batch.failures) if self._normalize else batch

    def _load(self) -> tuple[WordTokens, np.ndarray]:
        if self._loaded is None:
            try:
                from safetensors.numpy import load_file
            except ImportError as error:
                raise MissingExtraError(str(error.name), "local") from None
            before = self._digest()
            (table,) = load_file(self._table_file).values()
            if file_digest(self._table_file) != before:
                raise EmbedderError(f"{self._table_file} was changed while it was in use; run the command again")
            self._loaded = WordTokens(self._tokenizer()), table.astype(np.float32)
        return self._loaded

    def _tokenizer(self) -> Tokenizer:
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError(str(error.name), "local") from None
        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer


def _package_folder(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError(package, "local")
    return Path(found.submodule_search_locations[0])
