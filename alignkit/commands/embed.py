"""The command `embed`: six actions on one cache, each given what it uses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from alignkit.artifact import load_artifact
from alignkit.cache import VectorCache
from alignkit.commandline import build, plain
from alignkit.commandline.sides import complete_sides
from alignkit.commandline.workers_asked import workers_of
from alignkit.commands.embed_actions.embedding_job import Embedding
from alignkit.commands.embed_actions.filling_in_parts import InParts
from alignkit.commands.embed_actions.upkeep import forget, list_models, merge, prune, verify
from alignkit.commands.rules.embed import WHICH
from alignkit.embedders.base import Embedder
from alignkit.errors import ConfigError
from alignkit.sentences.records import Sentence
from alignkit.sentences.sentence_files import read_sentences
from alignkit.setting_names import SIDES

logger = logging.getLogger("alignkit.embed")

OLLAMA = dict.fromkeys(SIDES, "ollama")


def main(config: DictConfig) -> None:
    """Do one action."""
    settings = plain(config, without=SIDES)
    action, cache_dir = settings["action"], settings["cache_dir"]
    if action == "embed":
        embed(config, settings)
    elif action == "list":
        list_models(cache_dir)
    elif action == "verify":
        verify(cache_dir)
    elif action == "prune":
        complete_sides(config, None, otherwise=OLLAMA)
        opened = (opened_embedder(config, side) for side in WHICH[settings["which"]])
        prune(cache_dir, opened, confirm=settings["confirm"])
    elif action == "merge":
        merge(cache_dir, settings["other"], settings["dtype"])
    else:
        forget(cache_dir, sentences_of(settings["sentences"], settings["text_column"]))


def embed(config: DictConfig, settings: dict[str, Any]) -> None:
    """Embed what is missing, one model after the other."""
    head = load_artifact(settings["head"]) if settings["which"] == "aligned" else None
    complete_sides(config, head, settings["head"], OLLAMA)
    job = Embedding(
        cache_dir=settings["cache_dir"],
        dtype=settings["dtype"],
        sentences=sentences_of(settings["sentences"], settings["text_column"]),
        role=settings["role"],
        retry_quarantined=settings["retry_quarantined"],
        save_to=None if settings["save_to"] is None else Path(settings["save_to"]).expanduser(),
        head=head,
        allow_student_mismatch=settings["allow_student_mismatch"],
    )
    with job.opened_cache() as cache:
        for side in WHICH[settings["which"]]:
            workers = in_parts(config, settings, side, cache)
            with opened_embedder(config, side) as embedder:
                job.embed(cache, side, embedder, workers)


def in_parts(config: DictConfig, settings: dict[str, Any], side: str, cache: VectorCache) -> InParts | None:
    """The workers that embed a side; `None` for this process alone, which needs no parts.

    What a server is asked at the same time by all workers together is no more than one process would ask it.
    """
    engine, model = settings["engine"], plain(config[side])
    if workers_of(engine) is None:
        return None
    if isinstance(at_once := model.get("concurrency"), int) and at_once >= 1:
        workers = min(at_once, engine["workers"] or at_once)
        if engine["workers"] and engine["workers"] > workers:
            logger.info(
                "%d of %d workers embed: %s.concurrency=%d bounds the requests of all of them together",
                workers, engine["workers"], side, at_once,
            )  # fmt: skip
        engine, model = {**engine, "workers": workers}, {**model, "concurrency": at_once // max(workers, 1)}
    workers_asked = workers_of(engine)
    return None if workers_asked is None else InParts(cache, settings["dtype"], side, model, workers_asked)


@contextmanager
def opened_embedder(config: DictConfig, side: str) -> Iterator[Embedder]:
    """The embedder of a side, built only now: one whose setting is missing shall not stop who does not need it."""
    embedder: Embedder = build(config[side], side)
    try:
        yield embedder
    finally:
        embedder.close()


def sentences_of(path: str | None, text_column: str) -> list[Sentence]:
    """The file that the settings name."""
    if path is None:
        raise ConfigError("sentences is not set; give it as sentences=FILE (.txt, .jsonl, .csv, .tsv or .parquet)")
    return read_sentences(path, text_column)
