"""Ask a chat model for JSON of a given schema over Ollama's or OpenAI's API. Errors are handled as the embedders do."""

from __future__ import annotations

import math
import queue
import threading
import time
from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any

from alignkit.embedders.remote.connection import Connection
from alignkit.embedders.remote.event_loop import BackgroundLoop
from alignkit.embedders.remote.server_faults import Backoff, TextFault, TooLargeFault, TransientFault
from alignkit.errors import DataError, EmbedderError
from alignkit.sentences.partial_json import object_in
from alignkit.servers.addresses import ollama_address, openai_address
from alignkit.setting_names import settings_under
from alignkit.setting_rules import check, number_above, number_from, one_of

APIS = ("ollama", "openai")
# far from the seeds of other questions, which are small
_NEXT_SEED = 1_000_003
_OTHER_LIMIT = "max_completion_tokens"
_LENGTHS = ("minLength", "maxLength")
RULES = {"api": one_of(APIS), "temperature": number_from(0), "timeout_s": number_above(0)}


class ChatError(DataError):
    """The server gave no usable answer, even after retries."""


class ChatModel:
    """One model behind one server. Thread-safe.

    Args:
        model: its name on the server.
        base_url: the server's address, with `/v1` for the OpenAI API; None finds Ollama as its own client does.
        api: `ollama` (`/api/chat`) or `openai` (`/chat/completions`).
        api_key_env: environment variable that holds a bearer token.
        temperature: 0 for the likeliest answer; above 0, answers vary.
        timeout_s: for one answer; the first one includes loading the model.
        retries: further attempts if the server is busy, fails or does not answer.
        retry_wait_s: approximate wait before the first retry; it doubles each time.
        concurrency: requests in flight at once.

    Raises:
        ConfigError: for an unknown API or an invalid address.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api: str = "ollama",
        api_key_env: str | None = None,
        temperature: float = 0.8,
        timeout_s: float = 300.0,
        retries: int = 3,
        retry_wait_s: float = 1.0,
        concurrency: int = 2,
    ) -> None:
        sends_key = api_key_env is not None
        self.model = model
        self._speech = _Speech(model, api, api_key_env)
        with settings_under("generator"):
            check({"api": api, "temperature": temperature, "timeout_s": timeout_s}, RULES)
            address = ollama_address(base_url) if api == "ollama" else openai_address(base_url, sends_key=sends_key)
            self._connection = Connection(address, self._speech, concurrency, api_key_env)
            self._backoff = Backoff.of(retries, retry_wait_s)
        self._loop: BackgroundLoop | None = None
        self._closed = False
        self._closing = threading.Lock()
        self._temperature = temperature
        self._timeout_s = timeout_s

    @property
    def where(self) -> str:
        """The server's URL, without credentials."""
        return self._connection.where

    def ask(
        self,
        system: str,
        question: str,
        schema: dict[str, Any],
        seed: int,
        most_tokens: int,
        left_s: float = math.inf,
    ) -> dict[str, Any]:
        """The JSON object in one answer; of a truncated answer, the complete part.

        Args:
            system: the system prompt.
            question: the user prompt.
            schema: JSON schema of the answer, which the server enforces where it can.
            seed: of the sampling. A retry uses another one, because an answer that looped would loop again.
            most_tokens: of the answer, because a small model may never stop.
            left_s: seconds left for it, if fewer than the timeout.

        Raises:
            ChatError: if the server does not answer or refuses.
            ValueError: if the answer holds no JSON object or takes too long; worth asking again with another seed.
        """
        messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        begun = time.monotonic()
        last: Exception
        for attempt in range(self._backoff.attempts):
            spent_s = time.monotonic() - begun
            timeout_s = max(0.001, min(self._timeout_s, left_s - spent_s))
            asked_at = time.monotonic()
            body = self._speech.body(messages, schema, seed + attempt * _NEXT_SEED, most_tokens, self._temperature)
            try:
                answer = self._post(body, timeout_s)
                return object_in(self._speech.text_of(answer))
            except TransientFault as fault:
                if time.monotonic() - asked_at >= timeout_s:
                    raise ValueError("no end in time") from None
                last, wait_s = fault, self._backoff.wait_s(attempt + 1, fault.wait_s)
            except TextFault as fault:
                if not self._speech.fall_back(str(fault)):
                    chat = "; set generator.model to a chat model" if "support chat" in str(fault) else ""
                    raise ChatError(f"{self.where} refused: {fault}{chat}") from None
                wait_s = 0.0
                last = fault
            if attempt + 1 < self._backoff.attempts:
                time.sleep(min(wait_s, left_s))
        raise ChatError(
            f"{self.where} gave no answer in {self._backoff.attempts} attempts; the last: {last}; "
            "see the server's log, or send fewer requests at once with generator.concurrency=1"
        )

    def close(self) -> None:
        """Free the connections; harmless twice."""
        with self._closing:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.close(self._connection.close())

    def _post(self, body: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()

        async def request() -> None:
            ended.put(await self._connection.ask("POST", self._speech.path, timeout_s, body))

        with self._closing:  # a request that starts while the loop is ending would never finish
            if self._closed:
                raise ChatError("the chat model is closed")
            self._loop = self._loop or BackgroundLoop()
            self._loop.start(request(), ended.put)
        try:
            found = ended.get()
            if isinstance(found, BaseException):
                raise found
            return found
        except CancelledError:
            raise ChatError("closed before the answer came") from None
        except TooLargeFault as fault:
            raise ChatError(f"{self.where} refused: {fault}") from None
        except EmbedderError as error:
            raise ChatError(str(error)) from None


class _Speech:
    """How to call the two APIs, and what a user can do if they refuse."""

    def __init__(self, model: str, api: str, api_key_env: str | None) -> None:
        self._model = model
        self._ollama = api == "ollama"
        self._limit = "max_tokens"
        self._bounds_lengths = True
        self.path = "api/chat" if self._ollama else "chat/completions"
        self.start_fix = (
            "is Ollama running there? Start it with `ollama serve`, or set generator.base_url"
            if self._ollama
            else "is the server running there, and is generator.base_url right?"
        )
        key_fix = (
            f"is the key in the environment variable {api_key_env} right?"
            if api_key_env
            else "name the environment variable that holds the key in generator.api_key_env"
        )
        missing = f"run: ollama pull {model}" if self._ollama else "set generator.model to one that the server has"
        self.fixes: Mapping[int, str] = {401: key_fix, 403: key_fix, 404: missing}

    def address_fix(self, where: str) -> str:
        """Another kind of server answers there."""
        if self._ollama:
            return f"does Ollama answer at {where}? For OpenAI's API set generator.api=openai"
        return f"does {where} speak OpenAI's API? Its address often ends in /v1; for Ollama's set generator.api=ollama"

    def body(
        self, messages: list[dict[str, str]], schema: dict[str, Any], seed: int, most_tokens: int, temperature: float
    ) -> dict[str, Any]:
        """The JSON body of one request."""
        body: dict[str, Any] = {"model": self._model, "messages": messages, "stream": False}
        if self._ollama:
            options = {"temperature": temperature, "seed": seed, "num_predict": most_tokens}
            # a model that thinks first would reach the limit before it answers
            return body | {"format": schema, "think": False, "options": options}
        schema = schema if self._bounds_lengths else _without_lengths(schema)
        named = {"name": "answer", "schema": schema, "strict": True}
        body |= {"response_format": {"type": "json_schema", "json_schema": named}}
        return body | {"temperature": temperature, "seed": seed, self._limit: most_tokens}

    def text_of(self, answer: Mapping[str, Any]) -> str:
        """The model's message.

        Raises:
            ValueError: if there is no message in the answer.
        """
        try:
            message = answer["message"] if self._ollama else answer["choices"][0]["message"]
            return str(message["content"] or "")
        except (KeyError, IndexError, TypeError):
            raise ValueError("no message in the answer") from None

    def fall_back(self, refusal: str) -> bool:
        """A hosted API may have another name for the limit, or no lengths in a schema: try that once."""
        if not self._ollama and self._limit != _OTHER_LIMIT and _OTHER_LIMIT in refusal:
            self._limit = _OTHER_LIMIT
            return True
        if not self._ollama and self._bounds_lengths and any(name in refusal for name in _LENGTHS):
            self._bounds_lengths = False
            return True
        return False


def _without_lengths(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {name: _without_lengths(part) for name, part in schema.items() if name not in _LENGTHS}
    return schema
