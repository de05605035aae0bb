"""Ask a chat model for JSON of a given shape, over Ollama's or OpenAI's API."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import httpx

from alignkit.errors import ConfigError, DataError

APIS = ("ollama", "openai")
RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
_LONGEST_WAIT_S = 30.0


class ChatError(DataError):
    """The server gave no usable answer, also after retries."""


class ChatModel:
    """One model behind one server; may be used by several threads.

    Args:
        model: its name there.
        base_url: `http://host:11434` for Ollama; with `/v1` for the OpenAI API.
        api: `ollama` (`/api/chat`) or `openai` (`/chat/completions`).
        api_key_env: environment variable that holds a bearer token.
        temperature: 0 for the likeliest answer; above, answers vary.
        timeout_s: for one answer; the first one waits for the model to load.
        retries: further attempts after a busy, failing or silent server.
        retry_wait_s: before the first of them; doubled each time.

    Raises:
        ConfigError: for an unknown API or a variable that is not set.
    """

    def __init__(
        self,
        model: str,
        base_url: str = "http://127.0.0.1:11434",
        api: str = "ollama",
        api_key_env: str | None = None,
        temperature: float = 0.8,
        timeout_s: float = 300.0,
        retries: int = 3,
        retry_wait_s: float = 1.0,
    ) -> None:
        if api not in APIS:
            raise ConfigError(f"api={api}: expected one of {', '.join(APIS)}")
        headers = {}
        if api_key_env:
            key = os.environ.get(api_key_env)
            if not key:
                raise ConfigError(f"api_key_env={api_key_env}: this environment variable is not set")
            headers["Authorization"] = f"Bearer {key}"
        self.model = model
        self._api = api
        self._temperature = temperature
        self._retries = retries
        self._retry_wait_s = retry_wait_s
        self._url = base_url.rstrip("/") + ("/api/chat" if api == "ollama" else "/chat/completions")
        self._client = httpx.Client(headers=headers, timeout=timeout_s)

    def ask(self, system: str, question: str, schema: dict[str, Any], seed: int) -> dict[str, Any]:
        """One answer as the JSON object that it holds.

        Args:
            system: what the model is to be.
            question: what it is to answer.
            schema: JSON schema of the answer, which the server enforces where it can.
            seed: of the sampling.

        Raises:
            ChatError: if the server does not answer, or refuses.
            ValueError: if the answer is no JSON object; worth asking again with another seed.
        """
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        body: dict[str, Any] = {"model": self.model, "messages": messages, "stream": False}
        if self._api == "ollama":
            body |= {"format": schema, "options": {"temperature": self._temperature, "seed": seed}}
        else:
            named = {"name": "answer", "schema": schema, "strict": True}
            body |= {"response_format": {"type": "json_schema", "json_schema": named}}
            body |= {"temperature": self._temperature, "seed": seed}
        answer = self._post(body)
        try:
            message = answer["message"] if self._api == "ollama" else answer["choices"][0]["message"]
            content = json.loads(message["content"])
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"no message in the answer ({error!r})") from None
        if not isinstance(content, dict):
            raise ValueError(f"expected a JSON object, got {type(content).__name__}")
        return content

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        wait_s = self._retry_wait_s
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(min(wait_s, _LONGEST_WAIT_S))
                wait_s *= 2
            try:
                response = self._client.post(self._url, json=body)
            except httpx.TransportError as error:
                fault = f"{type(error).__name__}: {error}"
                continue
            if response.status_code not in RETRIED_STATUSES:
                break
            fault = f"status {response.status_code}: {response.text[:200]}"
            wait_s = max(wait_s, _retry_after_s(response))
        else:
            raise ChatError(f"{self._url} gave no answer in {self._retries + 1} attempts; the last: {fault}")
        if response.status_code != httpx.codes.OK:
            hint = f"; try: ollama pull {self.model}" if self._api == "ollama" and response.status_code == 404 else ""
            raise ChatError(f"{self._url} refused, status {response.status_code}: {response.text[:200]}{hint}")
        try:
            found = response.json()
        except ValueError:
            raise ValueError(f"the answer is no JSON: {response.text[:60]!r}") from None
        return found if isinstance(found, dict) else {}

    def close(self) -> None:
        """Free the connections; harmless twice."""
        self._client.close()


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return float(response.headers.get("Retry-After", 0))
    except ValueError:  # a date
        return 0.0
