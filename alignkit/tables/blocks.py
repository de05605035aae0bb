"""Column blocks of a table: what a source says of each entry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alignkit.cache.vector_cache import VectorCache
from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.static import StaticEmbedder
from alignkit.embedders.table import TableEmbedder
from alignkit.errors import EmbedderError
from alignkit.progress import progress
from alignkit.tables.input_embeddings import gguf_rows, input_rows

TEACHER, WORDLLAMA, INPUT_EMBEDDINGS = "teacher", "wordllama", "input_embeddings"
GGUF = ".gguf"
NAMES = (TEACHER, INPUT_EMBEDDINGS, WORDLLAMA)


def ask_teacher(
    texts: Sequence[str], teacher: Embedder, cache_dir: str | Path, role: Role
) -> tuple[dict[str, np.ndarray], int]:
    """The teacher's vector of each text that it can embed, of length 1, and how many were not in the cache.

    Raises:
        EmbedderError: if it can embed none of them.
        CacheError: if the cache cannot be written.
    """
    with VectorCache(cache_dir) as cache, progress("teacher, entries of the table", "texts") as counted:
        counted.begin(len(texts))
        report = cache.fill(teacher, texts, role, counted.advance)
        there = [text for text in texts if text not in report.quarantined]
        if not there:
            reason = next(iter(report.quarantined.values()), "there are none")
            raise EmbedderError(f"the teacher gave a vector for none of {len(texts):,} entries of a table: {reason}")
        vectors = cache.gather(cache.identity_of(teacher, role), there)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return dict(zip(there, vectors, strict=True)), report.new


def block_of(source: str, entries: Sequence[str], teacher: Embedder) -> np.ndarray:
    """A source's row for each entry, `(V, D)` float32; zero where it knows nothing of it.

    An entry goes through the source's own tokenizer: its row is the mean of the source's rows for it.

    Args:
        source: `wordllama`, `input_embeddings`, the folder of a token table, or a GGUF file, for its input embeddings.
        entries: the text of each entry.
        teacher: whose input embeddings are meant.
    """
    if source == INPUT_EMBEDDINGS:
        return input_rows(teacher, entries)
    if source.lower().endswith(GGUF):
        return gguf_rows(Path(source).expanduser(), entries)
    embedder = StaticEmbedder(normalize=False) if source == WORDLLAMA else TableEmbedder(source, normalize=False)
    rows = np.zeros((len(entries), embedder.dim), dtype=np.float32)
    for batch in embedder.embed(entries):
        rows[batch.indices] = batch.vectors
    return rows
