"""Vectors from sentence-transformers, in this process."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alignkit.embedders.base import EmbeddedBatch, Role
from alignkit.embedders.digests import folder_digest
from alignkit.embedders.rows import batch_of
from alignkit.embedders.texts import admit
from alignkit.errors import ConfigError, EmbedderError, MissingExtraError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Pooling = Literal["mean", "cls", "last"]
_POOLING_MODES = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
# the names under which models keep their own prompts, in sentence-transformers' order
_PROMPT_NAMES: dict[Role, tuple[str, ...]] = {"query": ("query",), "document": ("document", "passage", "corpus")}
# how many batches are sorted by length and given together: far fewer paddings, and results still come in steps
_BATCHES_A_STEP = 32


class SentenceTransformerEmbedder:
    """Any model that sentence-transformers loads, or a bare transformer with a pooling of one's choice.

    Args:
        model: a folder, or a name on the Hugging Face hub (which is downloaded the first time).
        batch_size: texts a forward pass.
        query_prompt: put before each query; null takes the model's own, "" none.
        document_prompt: put before each document; null takes the model's own, "" none.
        dimensions: keep only so many of the first dimensions (for Matryoshka models).
        normalize: scale vectors to length 1; else they are as the model gives them.
        truncate: cut texts that are longer than the model takes; else they are failures.
        pooling: `mean`, `cls` or `last` over a bare transformer's tokens; null takes the model's own.
        layers: keep only so many of the first transformer layers; null keeps all. With it, `pooling` is `mean`
            unless given, and modules after the pooling are left out.
        device: `cpu`, `cuda`, …; null lets torch choose.
        dtype: of the weights: `auto` (as stored), `float32`, `float16`, `bfloat16`.
        trust_remote_code: run code that comes with the model.
    """

    def __init__(
        self,
        model: str,
        batch_size: int = 32,
        query_prompt: str | None = None,
        document_prompt: str | None = None,
        dimensions: int | None = None,
        normalize: bool = False,
        truncate: bool = True,
        pooling: Pooling | None = None,
        layers: int | None = None,
        device: str | None = None,
        dtype: str = "auto",
        trust_remote_code: bool = False,
    ) -> None:
        if importlib.util.find_spec("sentence_transformers") is None:
            raise MissingExtraError("sentence-transformers", "local")
        if batch_size < 1:
            raise ConfigError(f"batch_size={batch_size}: expected at least 1")
        if pooling is not None and pooling not in _POOLING_MODES:
            raise ConfigError(f"pooling={pooling}: expected one of {', '.join(_POOLING_MODES)}, or null")
        self.model = model
        self._batch_size = batch_size
        self._prompts: dict[Role, str | None] = {"query": query_prompt, "document": document_prompt}
        self._dimensions = dimensions
        self._normalize = normalize
        self._truncate = truncate
        self._pooling: Pooling | None = "mean" if layers is not None and pooling is None else pooling
        self._layers = layers
        self._device = device
        self._dtype = dtype
        self._trust_remote_code = trust_remote_code
        self._loaded: SentenceTransformer | None = None

    @property
    def dim(self) -> int:
        """Width of the vectors; loads the model the first time."""
        width = self._load().get_embedding_dimension()
        if width is None:
            raise EmbedderError(f"{self.model} does not tell the width of its vectors")
        return min(width, self._dimensions or width)

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity without what is read from the model's files."""
        return {
            "backend": "sentence_transformer",
            # where a folder lies does not matter, its digest says what it is
            "model": Path(self.model).name if Path(self.model).is_dir() else self.model,
            "pooling": self._pooling,
            "layers": self._layers,
            "dtype": self._dtype,
            "normalize": self._normalize,
            "dimensions": self._dimensions,
            "truncate": self._truncate,
        }

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """What decides a vector; the digest covers weights, tokenizer and configuration."""
        return {**self.settings(role), "prompt": self._prompt(role), "digest": folder_digest(self._folder())}

    def provenance(self) -> dict[str, Any]:
        """Versions, and the device where the model is loaded."""
        packages = ("sentence-transformers", "transformers", "torch")
        device = str(self._loaded.device) if self._loaded is not None else self._device
        return {**{name: importlib.metadata.version(name) for name in packages}, "device": device}

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches of texts of like length, the longest first in each step; see `Embedder`."""
        model, prompt = self._load(), self._prompt(role)
        step = self._batch_size * _BATCHES_A_STEP
        for start in range(0, len(texts), step):
            part = texts[start : start + step]
            positions, failures = admit(part)
            if not self._truncate:
                failures |= self._too_long(model, [(place, prompt + part[place]) for place in positions])
                positions = [place for place in positions if place not in failures]
            # sorted here, so that each batch can be given as soon as it is done
            positions.sort(key=lambda place: -len(part[place]))
            failures = {start + place: reason for place, reason in failures.items()}
            if not positions:
                yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.dim), np.float32), failures)
            for first in range(0, len(positions), self._batch_size):
                places = positions[first : first + self._batch_size]
                vectors = self._vectors(model, [part[place] for place in places], prompt)
                yield batch_of([start + place for place in places], vectors, failures if first == 0 else {})

    def modules(self) -> list[Any]:
        """The model as modules of sentence-transformers, in the type of its weights; the caller must not change them.

        Raises:
            ConfigError: with `dimensions`: no module of sentence-transformers shortens vectors.
        """
        if self._dimensions is not None:
            raise ConfigError(f"dimensions={self._dimensions}: no module of sentence-transformers shortens vectors")
        from sentence_transformers.sentence_transformer.modules import Normalize

        modules = list(self._load())
        return [*modules, Normalize()] if self._normalize and not isinstance(modules[-1], Normalize) else modules

    def close(self) -> None:
        """Let the model go; harmless twice."""
        self._loaded = None

    def _vectors(self, model: SentenceTransformer, texts: list[str], prompt: str) -> np.ndarray:
        vectors = model.encode(
            texts,
            prompt=prompt,
            batch_size=self._batch_size,
            show_progress_bar=False,
            convert_to_numpy=True,
            normalize_embeddings=self._normalize,
            truncate_dim=self._dimensions,
        )
        return np.asarray(vectors, dtype=np.float32)

    def _too_long(self, model: SentenceTransformer, texts: list[tuple[int, str]]) -> dict[int, str]:
        limit = model.max_seq_length
        if limit is None or not texts:
            return {}
        # `verbose` off: a tokenizer warns of every text past the limit, which is what is asked for here
        tokens = model.tokenizer([text for _, text in texts], truncation=False, verbose=False)["input_ids"]
        lengths = [(place, len(ids)) for (place, _), ids in zip(texts, tokens, strict=True)]
        return {place: f"the text has {n} tokens, the model takes {limit}" for place, n in lengths if n > limit}

    def _prompt(self, role: Role) -> str:
        given = self._prompts[role]
        if given is not None:
            return given
        file = self._folder() / "config_sentence_transformers.json"
        own = json.loads(file.read_text(encoding="utf-8")).get("prompts") or {} if file.is_file() else {}
        return str(next((own[name] for name in _PROMPT_NAMES[role] if own.get(name)), ""))

    def _folder(self) -> Path:
        """The model's files; a model of the hub is downloaded the first time."""
        folder = Path(self.model).expanduser()
        if folder.is_dir():
            return folder
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(snapshot_download(self.model, local_files_only=True))
        except LocalEntryNotFoundError:
            self._load()  # downloads what it needs, not every format that the hub has
            return Path(snapshot_download(self.model, local_files_only=True))

    def _load(self) -> SentenceTransformer:
        if self._loaded is None:
            try:
                with quiet_loading():
                    self._loaded = self._build()
            except (OSError, ValueError) as error:
                reason = " ".join(str(error).split())[:300]
                raise EmbedderError(
                    f"cannot load '{self.model}': {reason}; expected a model folder or a name on the Hugging Face hub"
                ) from None
        return self._loaded

    def _build(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        folder = Path(self.model).expanduser()
        source = str(folder) if folder.is_dir() else self.model
        model = SentenceTransformer(
            source,
            device=self._device,
            model_kwargs={"dtype": self._dtype},
            trust_remote_code=self._trust_remote_code,
            local_files_only=folder.is_dir(),
        )
        if self._pooling is None:
            return model
        return _repooled(model, _POOLING_MODES[self._pooling], self._layers)


@contextlib.contextmanager
def quiet_loading() -> Iterator[None]:
    """Without the bars that transformers draws while it loads and saves weights."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _repooled(model: SentenceTransformer, mode: str, layers: int | None) -> SentenceTransformer:
    """The model's transformer alone, with another pooling and perhaps fewer layers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling as PoolingModule

    transformer: Any = model[0]
    if layers is not None:
        _keep_layers(transformer.model, layers)
    pooling: Any = PoolingModule(transformer.get_embedding_dimension(), mode)
    return SentenceTransformer(modules=[transformer, pooling], device=str(model.device))


def _keep_layers(transformer: Any, layers: int) -> None:
    """Drop all but the first layers, wherever the architecture keeps them."""
    for owner in (getattr(transformer, "encoder", None), getattr(transformer, "transformer", None), transformer):
        for name in ("layer", "layers", "block"):
            stack = getattr(owner, name, None)
            if stack is not None and hasattr(stack, "__len__"):
                if not 1 <= layers <= len(stack):
                    raise ConfigError(f"layers={layers}: the model has {len(stack)}")
                setattr(owner, name, stack[:layers])
                transformer.config.num_hidden_layers = layers
                return
    raise ConfigError(f"layers={layers}: found no stack of layers in {type(transformer).__name__}")
