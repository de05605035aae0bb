"""Embed sentences once and keep the vectors; list, check, prune or merge what is kept.

A run that was interrupted goes on where it was when the same command is given again.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from alignkit.aligned import check_identities, check_student
from alignkit.artifact import Artifact, load_artifact
from alignkit.cache import FillReport, KeyedTexts, VectorCache
from alignkit.cache.keys import identity_digest
from alignkit.cache.saving import save_vectors, saving_to
from alignkit.cache.watching import ModelChangedError
from alignkit.cache.wording import described, megabytes, summary
from alignkit.commandline import build, command, complete_sides
from alignkit.embedders.base import ROLES, Embedder, Role
from alignkit.errors import AlignkitError, CacheError, ConfigError, EmbedderError
from alignkit.migration.moving import migrate
from alignkit.pairs.base import SIDES
from alignkit.progress import progress
from alignkit.sentences.records import Sentence
from alignkit.sentences.sentence_files import read_sentences

logger = logging.getLogger("alignkit.embed")

ALIGNED = "aligned.npy"
OLLAMA = dict.fromkeys(SIDES, "ollama")
EXAMPLES = (
    "python -m alignkit.embed which=both sentences=sentences.txt student=static teacher=minilm",
    "python -m alignkit.embed which=teacher sentences=faq.csv text_column=question teacher.model=qwen2.5:7b",
    "python -m alignkit.embed sentences=sentences.jsonl save_to=vectors",
    "python -m alignkit.embed which=aligned head=outputs/train/RUN sentences=sentences.jsonl save_to=vectors",
    "python -m alignkit.embed action=list",
    "python -m alignkit.embed action=prune teacher=minilm which=teacher confirm=true",
    "python -m alignkit.embed action=merge other=/mnt/gpu-machine/cache",
)


@command(
    "embed",
    EXAMPLES,
    texts=("action", "which", "sentences", "text_column", "cache_dir", "role", "dtype", "save_to", "other", "head"),
    completed=SIDES,
)
def main(config: DictConfig) -> None:
    """Do one action on one cache."""
    actions: dict[str, Callable[[dict[str, Any], DictConfig], None]] = {
        "embed": embed_sentences,
        "list": list_models,
        "verify": verify,
        "prune": prune,
        "merge": merge,
        "forget": forget,
    }
    action = actions.get(config.action)
    if action is None:
        raise ConfigError(f"action={config.action}: expected one of {', '.join(actions)}")
    if config.role not in ROLES:
        raise ConfigError(f"role={config.role}: expected one of {', '.join(ROLES)}")
    # the embedders are left out: one whose setting is missing shall not stop a command that does not need it
    action({str(name): config[name] for name in config if name not in SIDES}, config)


def sides(settings: dict[str, Any]) -> tuple[str, ...]:
    """Which embedders a command is about."""
    # the head is applied to the student's vectors: these are what costs, so these are cached
    choices = {
        "teacher": ("teacher",),
        "student": ("student",),
        "both": ("teacher", "student"),
        "aligned": ("student",),
    }
    if settings["which"] not in choices:
        raise ConfigError(f"which={settings['which']}: expected one of {', '.join(choices)}")
    return choices[settings["which"]]


@contextmanager
def opened_embedder(config: DictConfig, side: str) -> Iterator[Embedder]:
    """The embedder that the command line chose for a side."""
    embedder: Embedder = build(config[side], side)
    try:
        yield embedder
    finally:
        embedder.close()


def sentences_of(settings: dict[str, Any]) -> list[Sentence]:
    """The file that the command line names."""
    if settings["sentences"] is None:
        raise ConfigError("sentences is not set; give it as sentences=FILE (.txt, .jsonl, .csv, .tsv or .parquet)")
    return read_sentences(Path(settings["sentences"]).expanduser(), settings["text_column"])


def embed_sentences(settings: dict[str, Any], config: DictConfig) -> None:
    """Embed what is missing, one model after the other: two at once would push each other out of memory."""
    chosen, heads_role = sides(settings), settings["role"]
    artifact = head_to_apply(settings)
    complete_sides(config, artifact, OLLAMA)
    sentences = sentences_of(settings)
    texts = KeyedTexts([sentence.text for sentence in sentences])
    with VectorCache(settings["cache_dir"], settings["dtype"]) as cache:
        for side in chosen:
            with opened_embedder(config, side) as embedder:
                if artifact is not None:
                    settings["role"] = role_of_student(cache, embedder, artifact, settings["allow_student_mismatch"])
                report = fill_with_progress(cache, embedder, texts, settings, side)
                for line in summary(f"{side} {embedder.settings(settings['role']).get('model', '')}".rstrip(), report):
                    say(line)
                if settings["save_to"] is not None:
                    identity = cache.identity_of(embedder, settings["role"])
                    folder = Path(settings["save_to"]).expanduser()
                    with saving_to(cache, folder) as unfinished:
                        rows = save_vectors(cache, identity, sentences, unfinished, side, texts)
                        dim = align_saved(unfinished, artifact, heads_role) if artifact is not None else None
                    say(f"{folder / f'{side}.npy'}: {rows:,} rows; {side}_index.json says which is whose")
                    if dim is not None:
                        say(f"{folder / ALIGNED}: the same rows in the teacher's space, {dim} dimensions")


def head_to_apply(settings: dict[str, Any]) -> Artifact | None:
    """The head that `which=aligned` needs, and a folder for what it gives."""
    if settings["which"] != "aligned":
        return None
    if settings["head"] is None or settings["save_to"] is None:
        raise ConfigError("which=aligned needs head=RUN_OR_HEAD and save_to=FOLDER")
    return load_artifact(settings["head"])


def role_of_student(cache: VectorCache, student: Embedder, artifact: Artifact, allow_mismatch: bool) -> Role:
    """Whose prompt the head knows, of this very student; while its server is off, as far as the cache remembers it."""
    try:
        return check_student(artifact, student, allow_mismatch)
    except EmbedderError:
        found = {role: cache.remembered(student.settings(role)) for role in ROLES}
        known = {role: identity for role, identity in found.items() if identity is not None}
        if not known:
            raise
        dim = cache.store.headers(identity_digest(next(iter(known.values()))))[-1].dim
        return check_identities(artifact, dim, known, allow_mismatch)


def align_saved(folder: Path, artifact: Artifact, role: Role) -> int:
    """Put the student's vectors of a folder through the head, row by row; returns the width of what it gives."""
    return int(migrate(folder / "student.npy", artifact, folder / ALIGNED, role=role)["dim"])


def fill_with_progress(
    cache: VectorCache, embedder: Embedder, texts: KeyedTexts, settings: dict[str, Any], side: str
) -> FillReport:
    """Fill the cache and show on stderr how far it is."""
    total = len(texts.firsts())
    stored = 0
    with progress(side, "texts") as counted:

        def on_batch(count: int) -> None:
            nonlocal stored
            if counted.total is None:  # what was cached says nothing about the speed
                counted.begin(total - count)
            else:
                counted.advance(count)
                stored += count

        try:
            return cache.fill(embedder, texts, settings["role"], on_batch, settings["retry_quarantined"])
        except (KeyboardInterrupt, AlignkitError) as error:
            if stored and not isinstance(error, ModelChangedError):
                logger.warning("%s: %d texts are done and kept; the same command goes on from there", side, stored)
            raise


def list_models(settings: dict[str, Any], config: DictConfig) -> None:
    """Say what is in the cache."""
    with VectorCache(settings["cache_dir"], only_read=True) as cache:
        models = cache.identities()
        for model in models:
            for line in described(model, models):
                say(line)
        total = sum(model.bytes for model in models)
        say(
            f"{cache.folder}: {len(models)} models, {sum(model.rows for model in models):,} vectors, {megabytes(total)}"
        )


def verify(settings: dict[str, Any], config: DictConfig) -> None:
    """Read everything again and compare it with its checksums."""
    with VectorCache(settings["cache_dir"], create=False) as cache:
        with progress("verify", "vectors") as counted:
            counted.begin(sum(shard.rows_on_disk() for shard in cache.store.shards().values()))
            report = cache.verify(counted.advance)
    for problem in report.problems:
        say(problem)
    if report.problems:
        raise CacheError(
            f"{len(report.problems)} problems in {settings['cache_dir']}, {report.rows} vectors are sound; "
            "embed again what is missing: python -m alignkit.embed with the same sentences"
        )
    say(f"{settings['cache_dir']}: all {report.rows:,} vectors are sound")


def prune(settings: dict[str, Any], config: DictConfig) -> None:
    """Keep the vectors of the models that the command line names, and no others."""
    keep = []
    with VectorCache(settings["cache_dir"], create=False) as cache:
        complete_sides(config, None, OLLAMA)
        for side in sides(settings):
            with opened_embedder(config, side) as embedder:
                keep += [cache.identity_of(embedder, role) for role in ROLES]
        keep = [same for identity in keep for same in cache.same(identity)]
        models = cache.identities()
        for model in models:
            say(f"{'keep' if model.identity in keep else 'drop'} {described(model, models)[0]}")
        if not settings["confirm"]:
            say("nothing was deleted; add confirm=true to do it")
            return
        removed = cache.prune(keep)
    say(f"{settings['cache_dir']}: {removed.rows:,} vectors and {megabytes(removed.bytes)} removed")
    if removed.damaged:
        say(f"{removed.damaged:,} damaged vectors were left out; the next embed of their texts makes them again")
    for line in removed.in_use:
        say(f"left as it is: {line}")
    if removed.in_use:
        raise CacheError(
            f"{len(removed.in_use)} of the shards are in use and were not pruned; close what uses the cache and give "
            "the same command again"
        )


def merge(settings: dict[str, Any], config: DictConfig) -> None:
    """Take in a cache that was filled elsewhere."""
    if settings["other"] is None:
        raise ConfigError("other is not set; give the folder of the cache to take in as other=FOLDER")
    with VectorCache(settings["cache_dir"], settings["dtype"]) as cache:
        with progress("merge", "vectors") as counted:
            new = cache.merge(settings["other"], counted.advance)
    say(f"{settings['cache_dir']}: {new:,} vectors are new")


def forget(settings: dict[str, Any], config: DictConfig) -> None:
    """Remove the texts of a file, under every model."""
    texts = list({sentence.text for sentence in sentences_of(settings)})
    with VectorCache(settings["cache_dir"], create=False) as cache:
        overwritten = cache.forget(texts)
    say(f"{settings['cache_dir']}: {overwritten:,} vectors of {len(texts):,} texts were overwritten")


def say(line: str) -> None:
    """Results go to stdout."""
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
