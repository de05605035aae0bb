"""Embedding requests in OpenAI's API, and what a user can do if the server refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alignkit.embedders.contexts import Context
from alignkit.embedders.remote.embedding_answers import embeddings_in, order_by_index
from alignkit.setting_names import SettingNames


class OpenAIWire:
    """`/v1/embeddings` as OpenAI documents it and other servers implement it."""

    path = "embeddings"
    restart = "start it again"
    sign_of_life = "models"

    def __init__(self, model: str, dimensions: int | None, api_key_env: str | None) -> None:
        self.model = model
        self.dimensions = dimensions
        self.form = "base64"
        self._base64_works = False
        self.context = Context()
        self.called = called = SettingNames()
        self.start_fix = f"is the server running there, and is {called('base_url')} right?"
        key_fix = (
            f"is the key in the environment variable {api_key_env} right?"
            if api_key_env
            else f"name the environment variable that holds the key in {called('api_key_env')}"
        )
        self.fixes: Mapping[int, str] = {
            401: key_fix,
            403: key_fix,
            404: f"set {called('model')} to one that the server has, instead of '{model}'",
            501: "start llama-server with --embeddings and a --pooling (last for a chat model)",
        }

    def request(self, texts: list[str]) -> dict[str, Any]:
        """The request; `dimensions` is omitted unless set, since vLLM refuses it for most models."""
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.form == "base64":
            body["encoding_format"] = "base64"
        return body if self.dimensions is None else {**body, "dimensions": self.dimensions}

    def address_fix(self, where: str) -> str:
        """The usual cause is a missing `/v1`, under which Ollama serves OpenAI's API beside its own."""
        base_url = self.called("base_url")
        if where.endswith("/api"):
            return f"set {base_url}={where.removesuffix('/api')}/v1 for Ollama, {where}/v1 for others"
        if not re.search(r"/v\d+", where):
            return f"{base_url} lacks the /v1 that nearly all such servers have: set {base_url}={where}/v1"
        return f"does a model that embeds answer at {where}/{self.path}? (For Ollama's own API: the embedder ollama)"

    def embeddings(self, answer: dict[str, Any], texts: list[str]) -> list[object]:
        """Embeddings sorted by `index`, which may differ from the order in the answer."""
        found = order_by_index(embeddings_in(answer, "data"))
        usage = answer.get("usage")
        self.context.note_tokens(texts, usage.get("prompt_tokens") if isinstance(usage, dict) else None)
        self._base64_works = self._base64_works or any(isinstance(embedding, str) for embedding in found)
        return found

    def fall_back(self) -> bool:
        """Switch to plain numbers, unless the server has already returned base64."""
        if self.form == "json" or self._base64_works:
            return False
        self.form = "json"
        return True
