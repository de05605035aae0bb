"""Embedding requests in Ollama's native API, and what a user can do if it refuses."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from alignkit.embedders.contexts import Context
from alignkit.embedders.remote.embedding_answers import embeddings_in
from alignkit.setting_names import SettingNames

logger = logging.getLogger(__name__)


class OllamaWire:
    """`/api/embed` as in Ollama's source; durations are in ns, and zero fields are omitted."""

    path = "api/embed"
    form = "json"
    restart = "start it (`ollama serve`)"
    sign_of_life = "api/version"

    def __init__(self, model: str, dimensions: int | None, truncate: bool) -> None:
        self.model = model
        self.dimensions = dimensions
        self.truncate = truncate
        self.context = Context()
        self.load_s: float | None = None
        self._called = called = SettingNames()
        self.start_fix = f"is Ollama running there? Start it with `ollama serve`, or set {called('base_url')}"
        self.fixes: Mapping[int, str] = {
            401: f"name the environment variable that holds the key in {called('api_key_env')}",
            403: "the server refuses this client; see OLLAMA_ORIGINS",
            404: f"run: ollama pull {model}",
        }

    def request(self, texts: list[str]) -> dict[str, Any]:
        """The request, without options that would make the server reload the model.

        Truncation is not requested if a text may exceed the context: the server truncates silently, and refuses
        a text that it may not truncate.
        """
        whole = any(text not in self.context.cut and self.context.may_cut(text) for text in texts)
        body: dict[str, Any] = {"model": self.model, "input": texts, "truncate": self.truncate and not whole}
        return body if self.dimensions is None else {**body, "dimensions": self.dimensions}

    def address_fix(self, where: str) -> str:
        """The user's fix if another program answers at the address."""
        base_url = self._called("base_url")
        return (
            f"does Ollama answer at {where}? Set {base_url} to its root, such as http://127.0.0.1:11434 "
            "(for OpenAI's API: the embedder openai)"
        )

    def embeddings(self, answer: dict[str, Any], texts: list[str]) -> list[object]:
        """Embeddings in the order of the texts; also notes how long the model took to load."""
        found = embeddings_in(answer, "embeddings")
        told = answer.get("load_duration")
        loaded_s = told / 1e9 if isinstance(told, int | float) else 0.0
        if loaded_s > 1 or self.load_s is None:
            self.load_s = round(loaded_s, 3)
        if loaded_s > 1:
            logger.info("loading %s took the server %.1f s", self.model, loaded_s)
        return found

    def fall_back(self) -> bool:
        """False: the request has only one form."""
        return False
