"""What an Ollama tells of a model: the digest of its manifest, the weights behind it, what else can change a vector."""

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

# PARAMETERs that no vector depends on: they choose the next token of an answer, or where and how fast is computed.
# All others may (num_ctx says where a text is cut, rope_* where a token stands), those yet unknown included.
HARMLESS = frozenset(
    "temperature top_k top_p min_p typical_p tfs_z seed stop num_predict num_keep repeat_last_n repeat_penalty "
    "presence_penalty frequency_penalty penalize_newline mirostat mirostat_eta mirostat_tau draft_num_predict "
    "num_thread num_gpu main_gpu numa low_vram use_mmap use_mlock vocab_only logits_all".split()
)
# of Ollama's versions; OLLAMA_CONTEXT_LENGTH sets it
LEAST_DEFAULT_CONTEXT = 2048
# the model itself, a projector beside it, an adapter (LoRA): each is a blob, named by what it holds
_BLOB = re.compile(r"^(FROM|ADAPTER)\s.*sha256[-:]([0-9a-f]{64})", re.MULTILINE)


@dataclass(frozen=True)
class OllamaModel:
    """One model behind a name, at one moment.

    Attributes:
        digest: of the manifest; another parameter or template makes another.
        weights: of the blobs that vectors come from; None where the server does not tell.
        parameters: those that may change a vector.
        own_context: most tokens of a text that the model itself can take; None where the server does not tell.
        name: under which it is asked for.
        architecture: `qwen2` for instance; empty where the server does not tell.
        pooling: how its file says that a text's vector is made, a number of llama.cpp's; 0 where it does not say.
        made_from: of which weights `enable_embeddings` made it.
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
        """Tokens of a text that are read in any case: a parameter, or a default that no server goes below."""
        told = self.parameters.get("num_ctx", "")
        limit = int(told) if told.isdecimal() and int(told) else LEAST_DEFAULT_CONTEXT
        return None if self.own_context is None else min(self.own_context, limit)

    @property
    def has_sure_context(self) -> bool:
        """Whether nothing but the model decides how much is read, and not the server's default."""
        return "num_ctx" in self.parameters or (self.own_context or 0) <= LEAST_DEFAULT_CONTEXT

    @property
    def files(self) -> dict[str, Any]:
        """For an identity: what decides a vector beside the settings, less the digest."""
        return {} if self.weights is None else {"weights": self.weights, "parameters": self.parameters}


class OllamaModels:
    """The models of one server. What a manifest's digest decides is asked once, whose digest it is each time.

    Args:
        engine: to the server.
        root: of Ollama's own API, as seen from the engine's address.
    """

    def __init__(self, engine: HttpEngine, root: str = "") -> None:
        self._engine = engine
        self._root = root
        self._known: dict[str, OllamaModel] = {}

    def find(self, name: str, patient: bool = True, or_copy: bool = False) -> OllamaModel:
        """The model that a name means now.

        Args:
            name: as typed.
            patient: ask again where the server does not answer at once.
            or_copy: rather take the copy that `enable_embeddings` made of it, where there is one.

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
        """Tokens of a text that are read: as long as the model is loaded, the server tells; else where it is sure."""
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
            if model.weights is None:  # it may tell the next time
                return model
            self._known[digest] = model
        return replace(self._known[digest], name=name)

    def _look_into(self, name: str, digest: str) -> OllamaModel:
        try:
            card = self._engine.ask("POST", f"{self._root}api/show", {"model": name}, patient=False)
        except EmbedderError:  # it only speaks some of Ollama's API
            return OllamaModel(digest, name=name)
        return replace(model_of(card, digest), name=name)


def _is_copy(copy: OllamaModel, model: OllamaModel) -> bool:
    """Whether a copy is of this very model: an unrelated one may have such a name by chance, or be of older weights."""
    made_from = f"sha256:{(model.weights or '').partition('+')[0]}"
    same = copy.architecture == model.architecture and copy.made_from in (None, made_from)
    return same and bool(copy.architecture) and copy.pooling > 0


def model_of(card: dict[str, Any], digest: str) -> OllamaModel:
    """A model from the answer of `/api/show`.

    >>> model_of({"modelfile": "FROM /blobs/sha256-" + "a" * 64, "parameters": "num_ctx 512"}, "d").parameters
    {'num_ctx': '512'}
    """
    blobs = _BLOB.findall(str(card.get("modelfile") or ""))
    # the order of adapters does not matter to their sum, that of the model's own parts is the server's
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
    r"""Those that may change a vector, by name; the last of a name holds.

    >>> _parameters('temperature    0.7\nstop    "a b"\nnum_ctx    512')
    {'num_ctx': '512'}
    """
    pairs = [line.split(None, 1) for line in told.splitlines()]
    if told.lstrip().startswith("{"):  # some servers that speak Ollama's API write JSON
        with contextlib.suppress(ValueError):
            pairs = [[name, str(value)] for name, value in json.loads(told).items()]
    found = {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2 and pair[0] not in HARMLESS}
    return dict(sorted(found.items()))
