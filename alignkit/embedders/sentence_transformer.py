"""Vectors from sentence-transformers, in this process.

More than 250 lines, since one class covers a whole model, and a third of it documents its settings.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alignkit.embedders import routes
from alignkit.embedders.bare_transformer import POOLING_MODES, Pooling, repooled
from alignkit.embedders.base import EmbeddedBatch, Role
from alignkit.embedders.digests import LoadedFiles, folder_digest
from alignkit.embedders.embeddable import admit
from alignkit.embedders.model_folders import EXPECTED, is_fitted, model_folder, name_of, own_prompt
from alignkit.embedders.model_loading import load_model
from alignkit.embedders.rows import UNLIKE_TEXTS, batch_of, check_dimensions, useless
from alignkit.embedders.token_limits import token_limit, tokens_read, too_long
from alignkit.errors import ConfigError, EmbedderError
from alignkit.extras import check_installed
from alignkit.hub.fetching import pinned
from alignkit.hub.hub_address import is_hub_address
from alignkit.servers.untrusted_words import one_line
from alignkit.setting_names import SettingNames
from alignkit.setting_rules import check, one_of, whole

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# this many batches are sorted by length together: far less padding, and results still arrive in steps
_BATCHES_A_STEP = 32

RULES = {
    "batch_size": whole(1),
    "pooling": one_of(POOLING_MODES).or_null("which takes the model's own"),
    "layers": whole(1).or_null("which keeps all"),
}


class SentenceTransformerEmbedder:
    """Any model that sentence-transformers loads, or a bare transformer with a chosen pooling.

    Queries and documents go through the library's own `encode_query` and `encode_document`: some models have a separate
    route for each.

    Args:
        model: a folder, a name on the Hugging Face hub (which is downloaded the first time), or `hf://user/repo@revision`,
            of which nothing but safetensors and configuration is fetched.
        batch_size: texts per forward pass.
        query_prompt: prepended to each query; null takes the model's own, "" none.
        document_prompt: prepended to each document; null takes the model's own, "" none.
        dimensions: keep only the first so many dimensions (for Matryoshka models).
        normalize: scale vectors to length 1; otherwise they stay as the model returns them.
        truncate: truncate texts longer than the model's limit; otherwise they are failures.
        pooling: `mean`, `cls` or `last` over a bare transformer's tokens; null takes the model's own.
        layers: keep only the first so many transformer layers; null keeps all. If set, `pooling` defaults to
            `mean`, and modules after the pooling are dropped.
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
        check_installed("local", "sentence_transformers")
        self._called = SettingNames()
        check({"batch_size": batch_size, "pooling": pooling, "layers": layers}, RULES)
        check_dimensions(dimensions)
        self.model = pinned(model, is_head=False) if is_hub_address(model) else model
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
        self._files: LoadedFiles | None = None

    @property
    def dim(self) -> int:
        """Width of the vectors; the first call loads the model."""
        width = self._load().get_embedding_dimension()
        if width is None:
            raise EmbedderError(f"{self.model} does not tell the width of its vectors")
        if self._dimensions is not None and self._dimensions > width:
            raise ConfigError(
                f"{self._called('dimensions')}={self._dimensions}: {self.model} gives {width}-d vectors; ask "
                f"for at most {width}, or null"
            )
        return self._dimensions or width

    @property
    def weights_mb(self) -> float:
        """What the model weighs in memory; the first call loads it."""
        return sum(weight.nbytes for weight in self._load().parameters()) / 1e6

    @property
    def context(self) -> int | None:
        """Maximum tokens of a text that the model reads; the first call loads the model."""
        return token_limit(routes.modules_of(self._load(), "document", self.model)[0])

    @property
    def is_fitted(self) -> bool:
        """Whether it is a token table whose rows were fitted to texts, or trained on them."""
        return is_fitted(self._folder())

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity, without what the model's files tell if they are not on this machine."""
        return {
            **self._told_here(role),
            "backend": "sentence_transformer",
            # the folder's location does not matter: its digest identifies the model
            "model": name_of(self.model),
            "pooling": self._pooling,
            "layers": self._layers,
            "dtype": self._dtype,
            "normalize": self._normalize,
            "dimensions": self._dimensions,
            "truncate": self._truncate,
        }

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """What determines a vector; the digest covers weights, tokenizer and configuration as they were loaded.

        `route` is present for models that treat roles differently.

        Raises:
            EmbedderError: if there is no such model.
        """
        files = {"prompt": self._prompt(role), "digest": self._digest()}
        return {**self.settings(role), **files, **({"route": role} if self._is_routed() else {})}

    def current_identity(self, role: Role = "document") -> dict[str, Any]:
        """The identity of the files as they are now: a folder may be overwritten after the model was loaded."""
        return {**self.identity(role), "digest": folder_digest(self._folder())}

    def provenance(self) -> dict[str, Any]:
        """Versions, and the device if the model is loaded."""
        packages = ("sentence-transformers", "transformers", "torch")
        device = str(self._loaded.device) if self._loaded is not None else self._device
        return {**{name: importlib.metadata.version(name) for name in packages}, "device": device}

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches of texts of similar length, the longest first in each step; see `Embedder`."""
        model, prompt = self._load(), self._prompt(role)
        _ = self.dim  # the library may silently give fewer
        reader = routes.modules_of(model, role, self.model)[0]
        step = self._batch_size * _BATCHES_A_STEP
        for start in range(0, len(texts), step):
            part = texts[start : start + step]
            positions, failures = admit(part)
            cut = too_long(reader, [(place, prompt + part[place]) for place in positions])
            if not self._truncate:
                failures |= cut
                positions = [place for place in positions if place not in failures]
            # sorted here, so that each batch can be yielded as soon as it is done
            positions.sort(key=lambda place: -len(part[place]))
            failures = {start + place: reason for place, reason in failures.items()}
            if not positions:
                yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.dim), np.float32), failures)
            for first in range(0, len(positions), self._batch_size):
                places = positions[first : first + self._batch_size]
                vectors = self._vectors(model, [part[place] for place in places], prompt, role)
                if self._files is not None:
                    self._files.require_unchanged()
                self._check_use(model, [part[place] for place in places], vectors, role)
                batch = batch_of([start + place for place in places], vectors, failures if first == 0 else {})
                yield replace(batch, cut=frozenset(start + place for place in places if place in cut))

    def modules(self, role: Role = "document") -> list[Any]:
        """The sentence-transformers modules that a role's texts go through, in the dtype of the weights.

        The caller must not change them.

        Raises:
            ConfigError: if `dimensions` is set: no sentence-transformers module shortens vectors.
            EmbedderError: if the model has no route for this role.
        """
        if self._dimensions is not None:
            raise ConfigError(
                f"{self._called('dimensions')}={self._dimensions}: no module of sentence-transformers shortens vectors"
            )
        from sentence_transformers.sentence_transformer.modules import Normalize

        modules = routes.modules_of(self._load(), role, self.model)
        return [*modules, Normalize()] if self._normalize and not isinstance(modules[-1], Normalize) else modules

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text that the model reads, without a prompt; the first call loads the model."""
        reader = routes.modules_of(self._load(), "document", self.model)[0]
        return tokens_read(reader, texts)

    def close(self) -> None:
        """Release the model; may be called twice."""
        self._loaded = self._files = None

    def _vectors(self, model: SentenceTransformer, texts: Sequence[str], prompt: str, role: Role) -> np.ndarray:
        encode = model.encode_query if role == "query" else model.encode_document
        try:
            vectors = encode(
                list(texts),
                prompt=prompt,
                batch_size=self._batch_size,
                show_progress_bar=False,
                convert_to_numpy=True,
                normalize_embeddings=self._normalize,
                truncate_dim=self._dimensions,
            )
        except (RuntimeError, ValueError, IndexError, TypeError) as error:  # memory, the device, a module's own code
            failed = f"'{self.model}' failed on {len(texts)} texts: {one_line(error)}"
            raise EmbedderError(f"{failed}; try a smaller {self._called('batch_size')}, or another device") from None
        return np.asarray(vectors, dtype=np.float32)

    def _check_use(self, model: SentenceTransformer, texts: list[str], vectors: np.ndarray, role: Role) -> None:
        """Check a batch that has no usable vector, or one vector for all texts: is the model at fault?

        Raises:
            EmbedderError: if harmless texts give the same result, so no text is to blame.
        """
        if useless(texts, vectors) and (fault := useless(UNLIKE_TEXTS, self._vectors(model, UNLIKE_TEXTS, "", role))):
            dtype = self._called("dtype")
            raise EmbedderError(
                f"'{self.model}' gives no usable vector for any text ({fault}); its files are damaged, or its numbers "
                f"overflow in {dtype}={self._dtype}: try {dtype}=float32"
            )

    def _told_here(self, role: Role) -> dict[str, Any]:
        """What distinguishes the vectors of one role from those of another, so that the cache keeps them apart."""
        with contextlib.suppress(EmbedderError):
            if (folder := model_folder(self.model)) is not None:
                routed = self._pooling is None and routes.are_told(folder)
                return {"prompt": self._prompt(role), **({"route": role} if routed else {})}
        return {}

    def _is_routed(self) -> bool:
        if self._pooling is not None:
            return False
        told = routes.are_told(self._folder())
        return routes.are_in(self._load()) if told is None else told

    def _digest(self) -> str:
        if self._files is None:
            self._files = LoadedFiles(self._folder())
        return self._files.digest

    def _prompt(self, role: Role) -> str:
        given = self._prompts[role]
        if given is not None:
            return given
        return own_prompt(self._folder(), role)

    def _folder(self) -> Path:
        """The model's folder; the first call downloads a model from the hub."""
        folder = model_folder(self.model)
        if folder is None:
            self._load()  # downloads only what it needs, not every format on the hub
            folder = model_folder(self.model)
        if folder is None:
            raise EmbedderError(f"'{self.model}' is not in the Hugging Face hub's cache on this machine; {EXPECTED}")
        return folder

    def _load(self) -> SentenceTransformer:
        if self._loaded is None:
            self._loaded, self._files = load_model(self.model, self._read, self._files)
        return self._loaded

    def _read(self, source: str, offline: bool) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        model = SentenceTransformer(
            source,
            device=self._device,
            model_kwargs={"dtype": self._dtype},
            trust_remote_code=self._trust_remote_code,
            local_files_only=offline,
        )
        return model if self._pooling is None else repooled(model, self._pooling, self._layers)
