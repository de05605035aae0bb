"""What an Ollama server reports about a model: its manifest's digest, its weights, whatever else affects a vector."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field, replace
from typing import Any

from alignkit.embedders.chat_models import MADE_FROM, copy_name, how_to_get
from alignkit.embedders.remote.embedding_answers import entries_in
from alignkit.embedders.remote.engine import HttpEngine
from alignkit.embedders.sameness import normal_name
from alignkit.errors import EmbedderError
from alignkit.servers.untrusted_words import one_line

# PARAMETERs that do not affect vectors: they control sampling, or where and how fast the model computes. All others
# may (num_ctx sets where a text is truncated, rope_* the position encoding), including any that are still unknown.
HARMLESS = frozenset(
    "temperature top_k top_p min_p typical_p tfs_z seed stop num_predict num_keep repeat_last_n repeat_penalty "
    "presence_penalty frequency_penalty penalize_newline mirostat mirostat_eta mirostat_tau draft_num_predict "
    "num_thread num_gpu main_gpu numa low_vram use_mmap use_mlock vocab_only logits_all".split()
)
# smallest among Ollama's versions; OLLAMA_CONTEXT_LENGTH sets it
LEAST_DEFAULT_CONTEXT = 2048
# the model itself, its projector, an adapter (LoRA): each is a blob, named by its digest
_BLOB = re.compile(r"^(FROM|ADAPTER)\s.*sha256[-:]([0-9a-f]{64})", re.MULTILINE)


@dataclass(frozen=True)
class OllamaModel:
    """The model that a name refers to at one moment.

    Attributes:
        digest: of the manifest; any change of a parameter or template changes it.
        weights: digests of the blobs that produce the vectors; None if the server does not report them.
        parameters: those that may affect a vector.
        own_context: maximum tokens of a text that the model itself supports; None if the server does not report it.
        name: used in requests.
        architecture: such as `qwen2`; empty if the server does not report it.
        pooling: the pooling type in its file, as llama.cpp numbers them; 0 if the file gives none.
        made_from: the weights from which `enable_embeddings` made it.
    """

    digest: str
    weights: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    own_context: int | None = None
    name: str = ""
    architecture: str = ""
    pooling: int = 0
    made_from: str | None = None

    @property
    def least_context(self) -> int | None:
        """Tokens of a text that are certainly read: set by a parameter, or the smallest default of any server."""
        told = self.parameters.get("num_ctx", "")
        limit = int(told) if told.isdecimal() and int(told) else LEAST_DEFAULT_CONTEXT
        return None if self.own_context is None else min(self.own_context, limit)

    @property
    def has_sure_context(self) -> bool:
        """Whether the model alone, not the server's default, determines how many tokens are read."""
        return "num_ctx" in self.parameters or (self.own_context or 0) <= LEAST_DEFAULT_CONTEXT

    @property
    def files(self) -> dict[str, Any]:
        """For an identity: what determines a vector apart from the settings, without the digest."""
        return {} if self.weights is None else {"weights": self.weights, "parameters": self.parameters}


class OllamaModels:
    """The models of one server. A name's digest is requested each time, what depends on the digest only once.

    Args:
        engine: to the server.
        root: of Ollama's native API, relative to the engine's address.
    """

    def __init__(self, engine: HttpEngine, root: str = "") -> None:
        self._engine = engine
        self._root = root
        self._known: dict[str, OllamaModel] = {}

    def find(self, name: str, patient: bool = True, or_copy: bool = False) -> OllamaModel:
        """The model that a name refers to now.

        Args:
            name: as typed.
            patient: retry if the server does not answer at once.
            or_copy: prefer the copy that `enable_embeddings` made of it, if there is one.

        Raises:
            EmbedderError: if the server does not answer or has no such model.
        """
        listed = entries_in(self._engine.ask("GET", f"{self._root}api/tags", patient=patient), "models")
        names = {str(entry.get("name") or entry.get("model")): str(entry.get("digest")) for entry in listed}
        digests = {normal_name(there): digest for there, digest in names.items()}
        if normal_name(name) not in digests:
            raise EmbedderError(
                f"{self._engine.where} has no model '{name}' (it has: {one_line(', '.join(sorted(names))) or 'none'}); "
                f"run: {how_to_get(name, names, self._engine.where.removesuffix('/v1'))}"
            )
        model = self._known_or_new(name, digests[normal_name(name)])
        copied = digests.get(normal_name(copy_name(name)))
        if or_copy and copied is not None and not model.pooling:
            copy = self._known_or_new(copy_name(name), copied)
            if _is_copy(copy, model):
                return copy
        return model

    def context_of(self, model: OllamaModel) -> int | None:
        """Tokens of a text that are read: as reported while the model is loaded, otherwise only if certain."""
        try:
            loaded = entries_in(self._engine.ask("GET", f"{self._root}api/ps", patient=False), "models")
        except EmbedderError:
            loaded = []
        names = {normal_name(str(entry.get("name"))): entry.get("context_length") for entry in loaded}
        told = names.get(normal_name(model.name))
        if isinstance(told, int) and told > 0:
            return told
        return model.least_context if model.has_sure_context else None

    def _known_or_new(self, name: str, digest: str) -> OllamaModel:
        if digest not in self._known:
            model = self._look_into(name, digest)
            if model.weights is None:  # the server may report them next time
                return model
            self._known[digest] = model
        return replace(self._known[digest], name=name)

    def _look_into(self, name: str, digest: str) -> OllamaModel:
        try:
            card = self._engine.ask("POST", f"{self._root}api/show", {"model": name}, patient=False)
        except EmbedderError:  # it supports only part of Ollama's API
            return OllamaModel(digest, name=name)
        return replace(model_of(card, digest), name=name)


def _is_copy(copy: OllamaModel, model: OllamaModel) -> bool:
    """Whether a copy was made from this model: its name may be a coincidence, or it may have older weights."""
    made_from = f"sha256:{(model.weights or '').partition('+')[0]}"
    same = copy.architecture == model.architecture and copy.made_from in (None, made_from)
    return same and bool(copy.architecture) and copy.pooling > 0


def model_of(card: dict[str, Any], digest: str) -> OllamaModel:
    """A model from the answer of `/api/show`.

    >>> model_of({"modelfile": "FROM /blobs/sha256-" + "a" * 64, "parameters": "num_ctx 512"}, "d").parameters
    {'num_ctx': '512'}
    """
    blobs = _BLOB.findall(str(card.get("modelfile") or ""))
    # adapters are summed, so their order does not matter; the model's own parts keep the server's order
    weights = "+".join([blob for kind, blob in blobs if kind == "FROM"] + sorted(b for k, b in blobs if k == "ADAPTER"))
    told = card.get("model_info")
    info = told if isinstance(told, dict) else {}
    architecture = str(info.get("general.architecture") or "")
    own, pooling = (info.get(f"{architecture}.{name}") for name in ("context_length", "pooling_type"))
    return OllamaModel(
        digest,
        weights or None,
        _parameters(str(card.get("parameters") or "")),
        own if isinstance(own, int) and own > 0 else None,
        architecture=architecture,
        pooling=pooling if isinstance(pooling, int) else 0,
        made_from=info.get(MADE_FROM),
    )


def _parameters(told: str) -> dict[str, str]:
    r"""Parameters that may affect a vector, by name; the last value of a name wins.

    >>> _parameters('temperature    0.7\nstop    "a b"\nnum_ctx    512')
    {'num_ctx': '512'}
    """
    pairs = [line.split(None, 1) for line in told.splitlines()]
    if told.lstrip().startswith("{"):  # some servers with Ollama's API send JSON
        with contextlib.suppress(ValueError):
            pairs = [[name, str(value)] for name, value in json.loads(told).items()]
    found = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2 and pair[0] not in HARMLESS}
    return dict(sorted(found.items()))
