"""Look after a vector cache: list, verify, prune, merge, forget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

from alignkit.cache import VectorCache
from alignkit.cache.wording import described, megabytes
from alignkit.commands.embed_actions.saying import say
from alignkit.embedders.base import ROLES, Embedder
from alignkit.errors import CacheError, ConfigError
from alignkit.progress import progress
from alignkit.sentences.records import Sentence


def list_models(cache_dir: str) -> None:
    """Say what is in the cache."""
    with VectorCache(cache_dir, only_read=True) as cache:
        models = cache.identities()
        for model in models:
            for line in described(model, models):
                say(line)
        total = sum(model.bytes for model in models)
        say(
            f"{cache.folder}: {len(models)} models, {sum(model.rows for model in models):,} vectors, {megabytes(total)}"
        )


def verify(cache_dir: str) -> None:
    """Read everything again and compare it with its checksums."""
    with VectorCache(cache_dir, create=False) as cache:
        with progress("verify", "vectors") as counted:
            counted.begin(sum(shard.rows_on_disk() for shard in cache.store.shards().values()))
            report = cache.verify(counted.advance)
    for problem in report.problems:
        say(problem)
    if report.problems:
        raise CacheError(
            f"{len(report.problems)} problems in {cache_dir}, {report.rows} vectors are sound; "
            "embed again what is missing: python -m alignkit.embed with the same sentences"
        )
    say(f"{cache_dir}: all {report.rows:,} vectors are sound")


def prune(cache_dir: str, models_to_keep: Iterable[AbstractContextManager[Embedder]], *, confirm: bool) -> None:
    """Keep the vectors of these models, and no others."""
    keep = []
    with VectorCache(cache_dir, create=False) as cache:
        for model_to_keep in models_to_keep:
            with model_to_keep as embedder:
                keep += [cache.identity_of(embedder, role) for role in ROLES]
        keep = [same for identity in keep for same in cache.same(identity)]
        models = cache.identities()
        for model in models:
            say(f"{'keep' if model.identity in keep else 'drop'} {described(model, models)[0]}")
        if not confirm:
            say("nothing was deleted; add confirm=true to do it")
            return
        removed = cache.prune(keep)
    say(f"{cache_dir}: {removed.rows:,} vectors and {megabytes(removed.bytes)} removed")
    if removed.damaged:
        say(f"{removed.damaged:,} damaged vectors were left out; the next embed of their texts makes them again")
    for line in removed.in_use:
        say(f"left as it is: {line}")
    if removed.in_use:
        raise CacheError(
            f"{len(removed.in_use)} of the shards are in use and were not pruned; close what uses the cache and give "
            "the same command again"
        )


def merge(cache_dir: str, other: str | None, dtype: str) -> None:
    """Take in a cache that was filled elsewhere."""
    if other is None:
        raise ConfigError("other is not set; give the folder of the cache to take in as other=FOLDER")
    with VectorCache(cache_dir, dtype) as cache:
        with progress("merge", "vectors") as counted:
            new = cache.merge(other, counted.advance)
    say(f"{cache_dir}: {new:,} vectors are new")


def forget(cache_dir: str, sentences: Sequence[Sentence]) -> None:
    """Remove the texts of a file, under every model."""
    texts = list({sentence.text for sentence in sentences})
    with VectorCache(cache_dir, create=False) as cache:
        overwritten = cache.forget(texts)
    say(f"{cache_dir}: {overwritten:,} vectors of {len(texts):,} texts were overwritten")
