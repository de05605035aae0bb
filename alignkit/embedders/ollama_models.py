"""What an Ollama tells of a model: the digest of its manifest, the weights behind it, what else can change a vector."""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from alignkit.embedders.remote.engine import HttpEngine
from alignkit.embedders.sameness import normal_name
from alignkit.errors import EmbedderError

# PARAMETERs that no vector depends on: they choose the next token of an answer, or where and how fast is computed.
# All others may (num_ctx says where a text is cut, rope_* where a token stands), those yet unknown included.
HARMLESS = frozenset(
    "temperature top_k top_p min_p typical_p tfs_z seed stop num_predict num_keep repeat_last_n repeat_penalty "
    "presence_penalty frequency_penalty penalize_newline mirostat mirostat_eta mirostat_tau draft_num_predict "
    "num_thread num_gpu main_gpu numa low_vram use_mmap use_mlock vocab_only logits_all".split()
)
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
    """

    digest: str
    weights: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    own_context: int | None = None

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

    def find(self, name: str, patient: bool = True) -> OllamaModel:
        """The model that a name means now.

        Args:
            name: as typed.
            patient: ask again where the server does not answer at once.

        Raises:
            EmbedderError: if the server does not answer or has no such model.
        """
        listed = self._engine.ask("GET", f"{self._root}api/tags", patient=patient).get("models") or []
        names = {str(entry.get("name") or entry.get("model")): entry for entry in listed}
        found = next((entry for there, entry in names.items() if normal_name(there) == normal_name(name)), None)
        if found is None:
            raise EmbedderError(
                f"{self._engine.where} has no model '{name}' (it has: {', '.join(sorted(names)) or 'none'}); "
                f"run: ollama pull {name}"
            )
        digest = str(found.get("digest"))
        if digest not in self._known:
            model = self._look_into(name, digest)
            if model.weights is None:  # it may tell the next time
                return model
            self._known[digest] = model
        return self._known[digest]

    def _look_into(self, name: str, digest: str) -> OllamaModel:
        try:
            card = self._engine.ask("POST", f"{self._root}api/show", {"model": name}, patient=False)
        except EmbedderError:  # it only speaks some of Ollama's API
            return OllamaModel(digest)
        return model_of(card, digest)


def model_of(card: dict[str, Any], digest: str) -> OllamaModel:
    """A model from the answer of `/api/show`.

    >>> model_of({"modelfile": "FROM /blobs/sha256-" + "a" * 64, "parameters": "num_ctx 512"}, "d").parameters
    {'num_ctx': '512'}
    """
    blobs = _BLOB.findall(str(card.get("modelfile") or ""))
    # the order of adapters does not matter to their sum, that of the model's own parts is the server's
    weights = "+".join([blob for kind, blob in blobs if kind == "FROM"] + sorted(b for k, b in blobs if k == "ADAPTER"))
    info = card.get("model_info") or {}
    own = info.get(f"{info.get('general.architecture')}.context_length")
    parameters = _parameters(str(card.get("parameters") or ""))
    return OllamaModel(digest, weights or None, parameters, own if isinstance(own, int) and own > 0 else None)


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
