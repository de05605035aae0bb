"""Wraps anything that turns texts into vectors as an embedder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.embedders.base import EmbeddedBatch, Embedder, Role
from alignkit.embedders.by_name import GROUP, named_embedder
from alignkit.embedders.embeddable import admit
from alignkit.embedders.rows import batch_of
from alignkit.errors import ConfigError, EmbedderError
from alignkit.parts import group_choices

_PROMISED = ("embed", "identity", "settings", "provenance", "dim")
_ROUTES: dict[Role, str] = {"query": "encode_query", "document": "encode_document"}


def as_embedder(model: Any) -> Embedder:
    """Return an embedder as it is, and wrap anything else that embeds texts.

    Args:
        model: an embedder; the name of one of ours, `minilm`; its name with settings,
            `{"embedder": "ollama", "model": "bge-m3"}`; the name or the folder of a model for sentence-transformers; an
            object with `encode(texts)`; a function of a list of texts.

    Raises:
        ConfigError: if it is none of these, or a setting is wrong.
    """
    if all(hasattr(model, name) for name in _PROMISED):
        return model
    if isinstance(model, Mapping):
        return named_embedder(model)
    if isinstance(model, str) and model in group_choices(GROUP):
        return named_embedder({GROUP: model})
    if isinstance(model, str | Path):
        from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder

        return SentenceTransformerEmbedder(str(model))
    if (hasattr(model, "encode") or callable(model)) and not isinstance(model, type):
        return AdaptedEmbedder(model)
    raise ConfigError(
        f"a {type(model).__name__} is not an embedder; give an object with encode(texts), a function of a list of "
        f"texts, one of {', '.join(group_choices(GROUP))}, or the name of a model for sentence-transformers"
    )


class AdaptedEmbedder:
    """An object with `encode(texts)`, or a function of a list of texts, as an `Embedder`.

    Queries go through `encode_query` and documents through `encode_document` if the object has them. Its weights are
    unknown, so its name is its identity.

    Args:
        model: called with lists of texts; gives `(len(texts), D)` numbers.
        batch_size: texts per call.
    """

    def __init__(self, model: Any, batch_size: int = 256) -> None:
        self.model = model
        self._batch_size = batch_size
        self._dim: int | None = None

    @property
    def dim(self) -> int:
        """Width of the vectors; embeds one text the first time."""
        if self._dim is None:
            self._dim = self._call(["a"], "document").shape[1]
        return self._dim

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The name of the object or function, and the method used for texts of this role."""
        name = getattr(self.model, "__qualname__", type(self.model).__qualname__)
        return {"backend": "python", "model": name, "route": getattr(self._way(role), "__name__", "__call__")}

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """See `settings`: nothing more is known."""
        return self.settings(role)

    def provenance(self) -> dict[str, Any]:
        """Where the object's class comes from."""
        return {"module": type(self.model).__module__}

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """One call per batch; see `Embedder`."""
        for start in range(0, len(texts), self._batch_size):
            part = texts[start : start + self._batch_size]
            positions, failures = admit(part)
            there = {start + place: reason for place, reason in failures.items()}
            if not positions:
                yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.dim), np.float32), there)
                continue
            vectors = self._call([part[place] for place in positions], role)
            self._dim = vectors.shape[1]
            yield batch_of([start + place for place in positions], vectors, there)

    def close(self) -> None:
        """Nothing of ours to free."""

    def _way(self, role: Role) -> Callable[..., Any]:
        if not hasattr(self.model, "encode"):
            return self.model
        return getattr(self.model, _ROUTES[role], self.model.encode)

    def _call(self, texts: list[str], role: Role) -> np.ndarray:
        given = self._way(role)(texts)
        if hasattr(given, "detach"):
            given = given.detach().cpu().float().numpy()
        try:
            vectors = np.asarray(given, dtype=np.float32)
        except (TypeError, ValueError):
            raise EmbedderError(f"{self.settings(role)['model']} gave no numbers for {len(texts)} texts") from None
        if vectors.ndim != 2 or len(vectors) != len(texts):
            raise EmbedderError(
                f"{self.settings(role)['model']} gave an array of shape {vectors.shape} for {len(texts)} texts; "
                f"expected ({len(texts)}, D)"
            )
        return vectors
