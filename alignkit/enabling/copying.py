"""Makes a copy that returns vectors from a chat model that does not, or says why it cannot be made."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.filesize import decimal

from alignkit.embedders.chat_models import MADE_FROM, advice, copy_helps, copy_name, enabling_command
from alignkit.embedders.sameness import normal_name
from alignkit.enabling.cards import adapters_of, architecture_of, digest_in, files_of, kept
from alignkit.enabling.ollama_server import OllamaServer, RefusedError
from alignkit.enabling.weights import check_space, file_of_model
from alignkit.errors import AlignkitError, ConfigError, DataError, EmbedderError
from alignkit.gguf_files.pooled_copy import POOLINGS, PooledCopy
from alignkit.progress import progress
from alignkit.setting_rules import check, one_of

logger = logging.getLogger(__name__)

# Ollama's own rules for a name: parts of letters, digits, dots, dashes and underscores
NAME = re.compile(r"([\w.-]+(:\d+)?/)?([\w.-]{1,80}/)?\w[\w.-]{0,79}(:\w[\w.-]{0,79})?", re.ASCII)
PROBES = ["alignment", "the parcel arrived two days late"]

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Wish:
    """What the user asked for.

    Attributes:
        model: a model's name on the server.
        copy: the name of its copy; None derives it from the model's.
        pooling: how the copy pools a text's token vectors: `last` or `mean`.
        gguf: the model's file, if it cannot be found through the server.
    """

    model: str
    copy: str | None = None
    pooling: str = "last"
    gguf: Path | None = None

    @property
    def name(self) -> str:
        """Name of the copy."""
        return self.copy or copy_name(self.model)

    def check(self) -> None:
        """Refuse invalid input.

        Raises:
            ConfigError: for an invalid name, the model's own name, or an unknown pooling.
        """
        check({"pooling": self.pooling}, {"pooling": one_of(sorted(POOLINGS))})
        for setting, name in (("model", self.model), ("as", self.name)):
            if not NAME.fullmatch(name):
                raise ConfigError(f"{setting}={name}: not a name that Ollama accepts; expected one like qwen2.5:7b")
        if normal_name(self.model) == normal_name(self.name):
            raise ConfigError(f"as={self.name} is the model itself, which is never changed; choose another name")


def enable(server: OllamaServer, wish: Wish, say: Callable[[str], None]) -> bool:
    """Make the copy, unless it exists or the model needs none.

    Nothing is written on this machine: the copy is generated while it is uploaded. The model itself is only read.

    Args:
        server: that has the model.
        wish: what the user asked for.
        say: called with each line for the user.

    Returns:
        Whether the copy exists now; False if the model returns vectors by itself.

    Raises:
        AlignkitError: if it cannot be done; a failed attempt leaves nothing under the copy's name on the server.
    """
    wish.check()
    version, card = server.version(), server.card(wish.model)
    if card is None:
        raise EmbedderError(f"{server.where} has no model '{wish.model}'; run: ollama pull {wish.model}")
    existing = server.card(wish.name)
    if existing is not None:
        _check_existing(wish, card, existing)
        say(f"{wish.name} is there already, a copy of {wish.model} with pooling={wish.pooling}")
        _prove(server, wish, say, remove=False)
        return True
    if (dim := _own_vectors(server, wish, card, version)) is not None:
        say(f"{wish.model} needs nothing: Ollama {version} embeds it as it is, {dim} dimensions; no copy made")
        return False
    copy, digest = _read(server, wish, card, say)
    _send(server, copy, digest)
    body = {"model": wish.name, "files": {"model.gguf": f"sha256:{digest}"}, **kept(card)}
    if adapters := adapters_of(card):
        body["adapters"] = {f"adapter{place}.gguf": f"sha256:{found}" for place, found in enumerate(adapters)}
    try:
        server.create(body)
    except RefusedError as refusal:
        raise EmbedderError(
            f"{server.where} refuses to make {wish.name}: {refusal.words}; what was sent is dropped when Ollama starts "
            "again"
        ) from None
    say(f"made {wish.name}: the weights, template, licence and parameters of {wish.model}, pooling={wish.pooling}")
    _prove(server, wish, say, remove=True)
    return True


def _own_vectors(server: OllamaServer, wish: Wish, card: dict[str, Any], version: str) -> int | None:
    """Width of the vectors that the model returns by itself; None if it returns none and a copy would."""
    if card.get("remote_host") or card.get("remote_model"):
        raise ConfigError(f"{wish.model} runs in the cloud: its weights are not on {server.where}")
    try:
        return int(server.embed(wish.model, PROBES[:1]).shape[1])
    except RefusedError as refusal:
        if refusal.status not in (400, 500, 501) or "support embeddings" not in refusal.words:
            raise
        if not copy_helps(version, refusal.words):
            raise ConfigError(advice(wish.model, architecture_of(card), version, refusal.words, server.where)) from None
    return None


def _check_existing(wish: Wish, card: dict[str, Any], existing: dict[str, Any]) -> None:
    info, architecture = existing.get("model_info") or {}, architecture_of(existing)
    pooling = info.get(f"{architecture}.pooling_type") or 0
    names = {number: name for name, number in POOLINGS.items()}
    mend = f"choose another name with as=NAME, or remove it with `ollama rm {wish.name}` and run this again"
    if architecture != architecture_of(card) or not pooling:
        raise ConfigError(f"as={wish.name}: there is another model of this name; {mend}")
    if pooling != POOLINGS[wish.pooling]:
        named = names.get(pooling, f"type {pooling}")
        raise ConfigError(f"{wish.name} exists with pooling={named}, but pooling={wish.pooling} was asked for; {mend}")
    made_from, now = info.get(MADE_FROM), _made_from(card)
    if made_from and now and made_from != now:
        raise ConfigError(f"{wish.name} was made from other weights than {wish.model} has now; {mend}")


def _made_from(card: dict[str, Any]) -> str | None:
    digests = [digest for path in files_of(card) if (digest := digest_in(path))]
    return f"sha256:{digests[0]}" if digests else None


def _read(server: OllamaServer, wish: Wish, card: dict[str, Any], say: Callable[[str], None]) -> tuple[PooledCopy, str]:
    """The copy and its digest, after checking that the file is the model's and that the server's disk has room."""
    paths = files_of(card)
    command = enabling_command(wish.model, server.where)
    file = wish.gguf or file_of_model(wish.model, paths, server, command)
    made_from = _made_from(card) or f"ollama:{normal_name(wish.model)}"
    try:
        copy = PooledCopy(file, wish.pooling, {MADE_FROM: made_from})
    except OSError as error:
        raise ConfigError(f"gguf={file}: cannot be read ({error.strerror}); give the model's GGUF file") from None
    architecture = architecture_of(card)
    if not copy.header.is_language_model or architecture not in ("", copy.header.architecture):
        raise DataError(
            f"{file} holds a model of the architecture {copy.header.architecture}, {wish.model} is {architecture}; "
            "give the file of this model"
        )
    if server.is_local:
        check_space(Path(paths[0]).parent if paths else file.parent, copy.size)
    say(f"{wish.model}: {file}, {decimal(copy.size)}")
    with _counting("read", copy) as advance:
        original, digest = copy.digests(advance)
    named = digest_in(file.name)
    if named not in (None, original):
        raise DataError(f"{file} is damaged: its SHA-256 is {original[:12]}…; run: ollama pull {wish.model}")
    if wish.gguf is not None and f"sha256:{original}" != made_from:
        logger.warning(
            "%s is not the file behind %s: the copy gets the weights of this file, not the server's", file, wish.model
        )
    return copy, digest


def _send(server: OllamaServer, copy: PooledCopy, digest: str) -> None:
    if server.has_blob(digest):  # from a model with the same weights, or from an attempt that failed later
        return
    with _counting("sent", copy) as advance:
        server.send_blob(digest, copy.chunks(advance), copy.size)


@contextmanager
def _counting(what: str, copy: PooledCopy) -> Iterator[Callable[[int], None]]:
    """Show the progress of a job over a copy's bytes; yields a function to call with each piece's byte count."""
    done = 0
    with progress(what, "MB") as counted:
        counted.begin(copy.size // MEGABYTE)

        def advance(length: int) -> None:
            nonlocal done
            done += length
            counted.advance(done // MEGABYTE - counted.done)

        yield advance


def _prove(server: OllamaServer, wish: Wish, say: Callable[[str], None], remove: bool) -> None:
    """Load the copy by embedding with it; if that fails, delete a copy that was just made."""
    started = time.perf_counter()
    try:
        vectors = server.embed(wish.name, PROBES)
        if np.allclose(vectors[0], vectors[1]):
            raise EmbedderError("it gives different texts the same vector")
    except AlignkitError as error:
        reason = error.words if isinstance(error, RefusedError) else str(error)
        if not remove:
            raise EmbedderError(
                f"{wish.name} gives no vectors: {reason}; run `ollama rm {wish.name}`, then this command again"
            ) from None
        try:
            server.delete(wish.name)
            left = "the copy was removed again"
        except AlignkitError:
            left = f"remove the copy with `ollama rm {wish.name}`"
        raise EmbedderError(
            f"{server.where} gives no vectors for {wish.model} with pooling={wish.pooling} either: {reason}; {left}. "
            "Update Ollama; or serve the file with `llama-server --embeddings --pooling last` and use the "
            "embedder openai"
        ) from None
    say(f"it gives vectors: {vectors.shape[1]} dimensions, the first after {time.perf_counter() - started:.1f} s")
