"""Vectors from any server that speaks OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import httpx

from alignkit.embedders.base import EmbeddedBatch, Role, Session
from alignkit.embedders.chat_models import NO_VECTORS, advice
from alignkit.embedders.ollama_models import OllamaModels
from alignkit.embedders.remote.embedding_answers import entries_in
from alignkit.embedders.remote.engine import HttpEngine
from alignkit.embedders.remote.openai_wire import OpenAIWire
from alignkit.embedders.remote.passing import embed_through
from alignkit.embedders.remote.server_faults import Backoff, StatusError
from alignkit.embedders.rows import check_dimensions, unit_rows
from alignkit.embedders.sameness import normal_name
from alignkit.errors import EmbedderError
from alignkit.servers.addresses import openai_address
from alignkit.servers.untrusted_words import one_line

# what llama-server reports about its model file; other quantisations have other sizes
_FILE_FACTS = ("n_params", "size", "n_embd", "n_vocab")


class OpenAIEmbedder:
    """A model served by llama-server, text-embeddings-inference, vLLM or a hosted API.

    Vectors are sent as base64 if the server supports it: a fifth of the bytes and of the parsing time.

    Args:
        model: as the server names it.
        base_url: with its `/v1`; the URL of one of its requests works too, and the default scheme is http.
        batch_size: maximum texts per request.
        concurrency: simultaneous requests.
        timeout_s: for an answer.
        first_timeout_s: for the first answer, while a model is loading.
        retries: maximum attempts after the first.
        retry_wait_s: approximate wait before the first retry; it doubles each time.
        api_key_env: environment variable with the key; without it, no key is sent.
        query_prompt: prepended to each query.
        document_prompt: prepended to each document.
        dimensions: ask for shorter vectors; vLLM refuses this for most models.
        normalize: scale vectors to length 1 here; otherwise they stay as the server returns them.
        transport: replaces the network in tests.
    """

    thread_safe = True

    def __init__(
        self,
        model: str,
        base_url: str,
        batch_size: int = 32,
        concurrency: int = 4,
        timeout_s: float = 120.0,
        first_timeout_s: float = 600.0,
        retries: int = 5,
        retry_wait_s: float = 0.5,
        api_key_env: str | None = None,
        query_prompt: str = "",
        document_prompt: str = "",
        dimensions: int | None = None,
        normalize: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        check_dimensions(dimensions)
        self.model = model
        self._normalize = normalize
        self._prompts: dict[Role, str] = {"query": query_prompt, "document": document_prompt}
        self._wire = OpenAIWire(model, dimensions, api_key_env)
        self._engine = HttpEngine(
            self._wire,
            openai_address(base_url, sends_key=bool(api_key_env)),
            batch_size,
            concurrency,
            timeout_s,
            first_timeout_s,
            Backoff.of(retries, retry_wait_s),
            api_key_env,
            transport,
        )
        self._models = OllamaModels(self._engine, root="../")
        self._speaks_ollama: bool | None = None
        self._files: dict[str, Any] | None = None
        self._context: int | None = None

    @property
    def dim(self) -> int:
        """Width of the vectors; the first call asks the server."""
        with self._explaining():
            return self._engine.dim

    @property
    def connections_made(self) -> int:
        """How many connections were opened to the server so far."""
        return self._engine.connections_made

    @property
    def context(self) -> int | None:
        """Maximum tokens of a text that the model reads, if the server reports it."""
        if self._context is None and self._files is not None and "weights" in self._files:
            _ = self.dim  # Ollama reports it for loaded models
            self._context = self._models.context_of(self._models.find(self.model))
            self._wire.context.least = self._context
        return self._context

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity without the model's digest."""
        return {
            "backend": "openai",
            "model": self.model,
            "prompt": self._prompts[role],
            "normalize": self._normalize,
            "dimensions": self._wire.dimensions,
        }

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """What determines a vector. If the server reports nothing about its weights, its URL replaces their digest.

        Raises:
            EmbedderError: if the server does not answer or has no such model.
        """
        if self._files is None:
            self._files = self._find_files(patient=True)
        return {**self.settings(role), **self._files}

    def current_identity(self, role: Role = "document") -> dict[str, Any]:
        """The identity that the server reports now, asked once with a short timeout, unless it reports nothing anyway.

        Raises:
            EmbedderError: if the server does not answer now or no longer has the model.
        """
        before = self.identity(role)
        if before["digest"].startswith("server:") and "weights" not in before:
            return before
        return {**self.settings(role), **self._find_files(patient=False)}

    def provenance(self) -> dict[str, Any]:
        """Server and version, as far as the server reports them."""
        server, version = self._server()
        return {
            "server": server,
            "server_version": one_line(version) if version else None,
            "base_url": self._engine.where,
            "load_s": None,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches as they finish; see `Embedder`."""
        with suppress(EmbedderError):
            _ = self.context  # Ollama's OpenAI API truncates long texts and has no option to refuse them
        with self._explaining():
            for batch in embed_through(self._engine, texts, self._prompts[role], self._wire.context):
                yield replace(batch, vectors=unit_rows(batch.vectors)) if self._normalize else batch

    def close(self) -> None:
        """Free the sockets and the thread; may be called twice."""
        self._engine.close()

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        """Say what to do if a chat model returns no vectors; Ollama's error then reads like llama-server's."""
        try:
            yield
        except StatusError as error:
            if error.status != NO_VECTORS or not self._is_ollama():
                raise
            server = self._engine.where.removesuffix("/v1")
            version = str(self._engine.ask_if_there("../api/version").get("version", ""))
            said = advice(self.model, "", version, str(error), server, self._wire.called("model"))
            raise StatusError(error.status, f"{server}: {said}") from None

    @property
    def session(self) -> Session:
        """See `base.Session`; servers other than Ollama may stand behind proxies that hide which server answers."""
        return Session(self._engine.broken, sure=self._files is not None and "weights" in self._files)

    @property
    def _has_root(self) -> bool:
        # servers describe themselves at paths beside `/v1`, not under it
        return self._engine.where.endswith("/v1")

    def _ask_root(self, name: str, patient: bool = True) -> dict[str, Any]:
        return self._engine.ask_if_there(f"../{name}", patient) if self._has_root else {}

    def _find_files(self, patient: bool) -> dict[str, Any]:
        entries = entries_in(self._engine.ask_if_there("models", patient), "data")
        names = {str(name): entry for entry in entries for name in (entry.get("id"), *_aliases_of(entry))}
        entry = names.get(self.model, {})
        facts = entry.get("meta")
        facts = facts if isinstance(facts, dict) else {}
        self._context = _count(facts.get("n_ctx")) or _count(entry.get("max_model_len")) or self._context
        if "n_params" in facts:
            return {"digest": "gguf:" + ",".join(f"{fact}={facts[fact]}" for fact in _FILE_FACTS if fact in facts)}
        if any(normal_name(name) == normal_name(self.model) for name in names) and self._is_ollama():
            model = self._models.find(self.model, patient)
            return {"digest": f"server:{self._engine.where}", **model.files}
        if len(entries) == 1 and self.model not in names:
            # such a server has one model and accepts any name for it
            other = one_line(entries[0].get("id"), 100)
            raise EmbedderError(
                f"{self._engine.where} serves '{other}', not '{self.model}'; "
                f"set {self._wire.called('model')} to what it serves"
            )
        info = self._ask_root("info", patient)
        self._context = self._context or _count(info.get("max_input_length"))
        if info.get("auto_truncate"):  # otherwise a text that is too long is refused
            self._wire.context.least = self._context
        if revision := info.get("model_sha"):
            return {"digest": f"revision:{revision}"}
        return {"digest": f"server:{self._engine.where}"}

    def _server(self) -> tuple[str, Any]:
        """The server's kind and its version, which is None if it reports none."""
        if props := self._ask_root("props"):  # checked first: llama-server also lists its model as Ollama does
            return "llama-server", props.get("build_info")
        if info := self._ask_root("info"):
            return "text-embeddings-inference", info.get("version")
        if told := self._ask_root("version"):
            return "openai", told.get("version")
        return ("ollama", self._ask_root("api/version").get("version")) if self._is_ollama() else ("openai", None)

    def _is_ollama(self) -> bool:
        if self._speaks_ollama is None:
            try:
                self._speaks_ollama = self._has_root and bool(self._engine.ask("GET", "../api/tags", patient=False))
            except EmbedderError:  # most have no such page
                return False
        return self._speaks_ollama


def _count(told: object) -> int | None:
    """The value as a number of tokens; None if it is not one."""
    return told if isinstance(told, int) and told > 0 else None


def _aliases_of(entry: Mapping[str, Any]) -> list[Any]:
    aliases = entry.get("aliases")
    return aliases if isinstance(aliases, list) else []
