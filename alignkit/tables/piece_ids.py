"""Asks a teacher in this process for pieces that no text can stand for: `##ing`, which goes into words alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from alignkit.embedders.base import EmbeddedBatch, Embedder, Role
from alignkit.embedders.rows import batch_of
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.errors import AlignkitError

BATCH = 128
UNKNOWN = "no token of the teacher"
MARK = {"backend": "token_ids", "prompt": ""}


def by_ids(teacher: Embedder, role: Role) -> PieceIds | None:
    """The teacher asked by token ids; None if it is no transformer in this process."""
    if not isinstance(teacher, SentenceTransformerEmbedder):
        return None
    try:
        is_transformer = hasattr(teacher.modules(role)[0], "model")
    except AlignkitError:
        return None
    return PieceIds(teacher) if is_transformer else None


class PieceIds:
    """The teacher's vector of one token between its special ones; the texts are names of tokens.

    Args:
        teacher: a transformer in this process, with a WordPiece tokenizer; see `by_ids`.
    """

    def __init__(self, teacher: SentenceTransformerEmbedder) -> None:
        self._teacher = teacher

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return self._teacher.dim

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The teacher's, under another backend: `##ing` as a text is something else.

        A cache looks models up by the settings that they share, so that a setting more would not keep the two apart.
        """
        return {**self._teacher.settings(role), **MARK}

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """The teacher's, under another backend."""
        return {**self._teacher.identity(role), **MARK}

    def provenance(self) -> dict[str, Any]:
        """The teacher's."""
        return self._teacher.provenance()

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches in the order of the names; one that is no token of the teacher's fails."""
        import torch

        modules = self._teacher.modules(role)
        tokenizer = modules[0].tokenizer
        known = tokenizer.get_vocab()
        special = tokenizer("")["input_ids"]
        before, after = special[: len(special) // 2], special[len(special) // 2 :]
        device = next(modules[0].parameters()).device
        for start in range(0, len(texts), BATCH):
            some = texts[start : start + BATCH]
            failures = {start + place: UNKNOWN for place, name in enumerate(some) if name not in known}
            places = np.array([start + place for place, name in enumerate(some) if name in known], dtype=np.int64)
            if not len(places):
                yield EmbeddedBatch(places, np.empty((0, self.dim), np.float32), failures)
                continue
            ids = [[*before, known[texts[place]], *after] for place in places.tolist()]
            features: Any = {"input_ids": torch.tensor(ids, device=device)}
            features["attention_mask"] = torch.ones_like(features["input_ids"])
            with torch.inference_mode():
                for module in modules:
                    features = module(features)
            yield batch_of(places, features["sentence_embedding"].float().cpu().numpy(), failures)

    def close(self) -> None:
        """Nothing: the teacher is closed by whoever made it."""
