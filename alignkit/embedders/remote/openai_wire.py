"""How OpenAI's API is asked for vectors, and what a user can do where a server of it refuses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from alignkit.embedders.contexts import Context
from alignkit.embedders.remote.embedding_answers import embeddings_in, order_by_index
from alignkit.setting_names import SettingNames


class OpenAIWire:
    """`/v1/embeddings` as OpenAI documents it and the others understand it."""

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
        """`dimensions` is left out unless asked for: vLLM refuses it for most models."""
        body: dict[str, Any] = {"model": self.model, "input": texts}
        if self.form == "base64":
            body["encoding_format"] = "base64"
        return body if self.dimensions is None else {**body, "dimensions": self.dimensions}

    def address_fix(self, where: str) -> str:
        """Nearly always the `/v1` is missing, in which Ollama keeps OpenAI's API beside its own."""
        base_url = self.called("base_url")
        if where.endswith("/api"):
            return f"set {base_url}={where.removesuffix('/api')}/v1 for Ollama, {where}/v1 for others"
        if not re.search(r"/v\d+", where):
            return f"{base_url} lacks the /v1 that nearly all such servers have: set {base_url}={where}/v1"
        return f"does a model that embeds answer at {where}/{self.path}? (For Ollama's own API: the embedder ollama)"

    def embeddings(self, answer: dict[str, Any], texts: list[str]) -> list[object]:
        """By their `index`, which need not be the order they come in."""
        found = order_by_index(embeddings_in(answer, "data"))
        usage = answer.get("usage")
        self.context.note_tokens(texts, usage.get("prompt_tokens") if isinstance(usage, dict) else None)
        self._base64_works = self._base64_works or any(isinstance(embedding, str) for embedding in found)
        return found

    def fall_back(self) -> bool:
        """Plain numbers, if the server has not yet shown that it can do base64."""
        if self.form == "json" or self._base64_works:
            return False
        self.form = "json"
        return True
