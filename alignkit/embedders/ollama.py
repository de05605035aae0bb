"""Vectors from Ollama's native API, `/api/embed`."""

from __future__ import annotations

import datetime
import functools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import httpx

from alignkit.embedders.base import EmbeddedBatch, Role, Session
from alignkit.embedders.chat_models import NO_VECTORS, advice
from alignkit.embedders.ollama_models import OllamaModel, OllamaModels
from alignkit.embedders.remote.engine import HttpEngine
from alignkit.embedders.remote.ollama_wire import OllamaWire
from alignkit.embedders.remote.passing import embed_through
from alignkit.embedders.remote.server_faults import Backoff, StatusError
from alignkit.embedders.rows import check_dimensions
from alignkit.embedders.sameness import normal_name
from alignkit.errors import ConfigError, EmbedderError
from alignkit.servers.addresses import ollama_address
from alignkit.servers.untrusted_words import one_line
from alignkit.setting_names import SettingNames

logger = logging.getLogger(__name__)

NO_SUCH_MODEL = 404


class OllamaEmbedder:
    """A model in Ollama. The server L2-normalises its vectors.

    Args:
        model: as in `ollama list`, with or without `:latest`.
        base_url: of the server, in any form that Ollama's client accepts, or the URL of one of its requests; null
            takes the environment variable `OLLAMA_HOST`, otherwise this machine.
        batch_size: maximum texts per request.
        concurrency: simultaneous requests; Ollama processes `OLLAMA_NUM_PARALLEL` (1) of them at a time.
        timeout_s: for an answer.
        first_timeout_s: for the first answer, while the model is loading.
        retries: maximum attempts after the first.
        retry_wait_s: approximate wait before the first retry; it doubles each time.
        api_key_env: environment variable with the key, for a server behind a proxy that requires one.
        query_prompt: prepended to each query.
        document_prompt: prepended to each document.
        dimensions: ask for shorter vectors; only some models support this.
        truncate: truncate texts longer than the model's context; otherwise they are failures.
        transport: replaces the network in tests.
    """

    thread_safe = True

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        batch_size: int = 32,
        concurrency: int = 2,
        timeout_s: float = 120.0,
        first_timeout_s: float = 600.0,
        retries: int = 5,
        retry_wait_s: float = 0.5,
        api_key_env: str | None = None,
        query_prompt: str = "",
        document_prompt: str = "",
        dimensions: int | None = None,
        truncate: bool = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        check_dimensions(dimensions)
        model = str(model).strip()
        if not model:
            raise ConfigError(f"{SettingNames()('model')} is empty; give the name of one in `ollama list`")
        self.model = normal_name(model)
        self._typed = model
        self._prompts: dict[Role, str] = {"query": query_prompt, "document": document_prompt}
        self._wire = OllamaWire(model, dimensions, truncate)
        self._engine = HttpEngine(
            self._wire,
            ollama_address(base_url),
            batch_size,
            concurrency,
            timeout_s,
            first_timeout_s,
            Backoff.of(retries, retry_wait_s),
            api_key_env,
            transport,
        )
        self._models = OllamaModels(self._engine)
        self._model: OllamaModel | None = None

    @property
    def dim(self) -> int:
        """Width of the vectors; the first call asks the server."""
        with self._asking():
            return self._engine.dim

    @property
    def connections_made(self) -> int:
        """How many connections were opened to the server so far."""
        return self._engine.connections_made

    @property
    def context(self) -> int | None:
        """Maximum tokens of a text that the model reads, if the server reports it; see `OllamaModels.context_of`."""
        return self._models.context_of(self._found())

    def settings(self, role: Role = "document") -> dict[str, Any]:
        """The identity without the model's digest."""
        return {
            "backend": "ollama",
            "model": self.model,
            "prompt": self._prompts[role],
            "normalize": True,
            "dimensions": self._wire.dimensions,
            "truncate": self._wire.truncate,
        }

    def identity(self, role: Role = "document") -> dict[str, Any]:
        """What determines a vector; the digests are those that the server first reported.

        Raises:
            EmbedderError: if the server does not answer or has no such model.
        """
        return self._identity(role, self._found())

    def current_identity(self, role: Role = "document") -> dict[str, Any]:
        """The identity the server reports now, asked once with a short timeout: a name may come to mean another model.

        Raises:
            EmbedderError: if the server does not answer now or no longer has the model.
        """
        return self._identity(role, self._models.find(self._typed, patient=False, or_copy=True))

    def _found(self, patient: bool = True) -> OllamaModel:
        """The model that embeds: the named one, or its copy made by `enable_embeddings`."""
        if self._model is None:
            self._model = self._models.find(self._typed, patient, or_copy=True)
            self._wire.model = self._model.name
            self._wire.context.least = self._model.least_context if self._wire.truncate else None
            if normal_name(self._model.name) != self.model:
                _tell_of_copy(self._typed, self._model.name, self._engine.where)
        return self._model

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Ask the right model, and say what to do if a chat model returns no vectors."""
        with suppress(EmbedderError):  # the fault recurs when vectors are requested
            self._found(patient=False)
        try:
            yield
        except StatusError as error:
            if error.status == NO_SUCH_MODEL:
                self._say_what_is_there()
            if error.status != NO_VECTORS:
                raise
            raise StatusError(error.status, f"{self._engine.where}: {self._advice(str(error))}") from None

    def _say_what_is_there(self) -> None:
        """Look for the model again after it, or the copy that embedded for it, was deleted during use.

        Raises:
            StatusError: unless it is back.
        """
        asked, self._model = self._wire.model, None
        try:
            self._models.find(asked, patient=False)
        except EmbedderError as error:
            raise StatusError(NO_SUCH_MODEL, str(error)) from None

    def _advice(self, words: str) -> str:
        version = str(self._engine.ask_if_there("api/version").get("version", ""))
        architecture = self._model.architecture if self._model is not None else ""
        return advice(self._typed, architecture, version, words, self._engine.where)

    @property
    def session(self) -> Session:
        """See `base.Session`: anything that the digest does not cover changes only when the server restarts."""
        return Session(self._engine.broken, sure=True)

    def _identity(self, role: Role, model: OllamaModel) -> dict[str, Any]:
        return {**self.settings(role), "digest": model.digest, **model.files}

    def provenance(self) -> dict[str, Any]:
        """Server and version, and the model's load time, if it was observed."""
        version = self._engine.ask("GET", "api/version").get("version")
        return {
            "server": "ollama",
            "server_version": one_line(version) if version else None,
            "base_url": self._engine.where,
            "load_s": self._wire.load_s,
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            **({"copy": self._wire.model} if normal_name(self._wire.model) != self.model else {}),
        }

    def embed(self, texts: Sequence[str], role: Role = "document") -> Iterator[EmbeddedBatch]:
        """Batches as they finish; see `Embedder`."""
        with self._asking():
            yield from embed_through(
                self._engine, texts, self._prompts[role], self._wire.context, asks_whole=self._wire.truncate
            )

    def close(self) -> None:
        """Free the sockets and the thread; may be called twice."""
        self._engine.close()


@functools.cache
def _tell_of_copy(model: str, copy: str, where: str) -> None:
    """Report it once per model: a command may create one embedder for its data and another for timing."""
    logger.info("%s: its copy %s gives the vectors", model, copy)
