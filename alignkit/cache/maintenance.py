"""Looking after a cache: drop what is not needed, take in another cache, forget texts."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import Timeout

from alignkit.cache import quarantine
from alignkit.cache.headers import ShardHeader, write_whole
from alignkit.cache.keys import KEY, contains, identity_digest, text_keys
from alignkit.cache.shards import Shard, ShardWriter
from alignkit.errors import CacheError

if TYPE_CHECKING:
    from alignkit.cache.vector_cache import VectorCache

log = logging.getLogger(__name__)

BLOCK_ROWS = 50_000


@dataclass
class Removed:
    """What went: vectors that could be found, and bytes on disk."""

    rows: int = 0
    bytes: int = 0


def prune(cache: VectorCache, keep: Iterable[Mapping[str, Any]]) -> Removed:
    """Drop every vector that none of the identities in `keep` made, and rewrite what is left of shards full of holes.

    Raises:
        CacheError: if nothing would be left (a mistyped model, most likely), or a file is in use (Windows).
    """
    kept = {identity_digest(identity) for identity in keep}
    shards = cache.store.shards()
    if shards and not any(shard.header.digest in kept for shard in shards.values()):
        raise CacheError("prune would leave nothing: the cache knows none of these models; see action=list")
    cache.store.require_writable("prune")
    cache.finish_writers()
    live = cache.store.index.live_rows()
    removed = Removed()
    for shard_id, shard in shards.items():
        with _unused(cache, shard):
            rows = live.get(shard_id, 0)
            if shard.header.digest not in kept:
                removed.rows += rows
            elif rows * 2 > shard.rows_on_disk():
                continue
            elif rows:
                _rewrite(cache, shard_id, shard)
            removed.bytes += shard.bytes_on_disk()
            shard.delete()
            cache.store.index.drop_shard(shard_id)
    for digest in quarantine.quarantined_digests(cache.folder):
        if digest not in kept:
            quarantine.write_quarantine(cache.folder, digest, {})
    removed.bytes += _sweep(cache)
    return removed


@contextmanager
def _unused(cache: VectorCache, shard: Shard) -> Iterator[None]:
    """Keep others from embedding with the shard's identity meanwhile."""
    try:
        with cache.store.lock(shard.header.digest.hex()).acquire(timeout=0):
            yield
    except Timeout:
        model = shard.header.identity.get("model", "a model")
        raise CacheError(
            f"another process is embedding with {model} into {cache.folder}; prune when it is done"
        ) from None


def _rewrite(cache: VectorCache, shard_id: int, shard: Shard) -> None:
    writer = ShardWriter(cache.store.shard_folder, shard.header)
    new_id = cache.store.index.register(writer.shard.name, shard.header.to_json())
    rows = cache.store.index.rows_of(shard_id)
    try:
        for start in range(0, len(rows), BLOCK_ROWS):
            part = rows[start : start + BLOCK_ROWS]
            records = shard.records(part)
            keys = np.empty(len(part), dtype=KEY)
            keys["high"], keys["low"] = records["high"], records["low"]
            writer.append(keys, shard.vectors(part))
            writer.sync()
            cache.store.index.add(new_id, keys, np.arange(start, start + len(part)), start + len(part))
    finally:
        writer.close()


def _sweep(cache: VectorCache) -> int:
    """Delete files that belong to no shard: left by a deletion that was cut short."""
    headers = {path.stem for path in cache.store.shard_folder.glob("*.json")}
    swept = 0
    for path in cache.store.shard_folder.iterdir():
        if path.suffix in (".keys", ".vectors") and path.stem not in headers:
            swept += path.stat().st_size
            path.unlink(missing_ok=True)
    return swept


def merge(cache: VectorCache, other_folder: str | Path) -> int:
    """Take in what another cache has and this one lacks: whole shards are copied, then checked row by row.

    Returns:
        How many vectors are new here.

    Raises:
        CacheError: if there is no cache in `other_folder`, or the disk refuses.
    """
    other = Path(other_folder).expanduser()
    if not (other / "shards").is_dir():
        raise CacheError(f"there is no cache in {other}: it has no folder 'shards'")
    if other.resolve() == cache.folder.resolve():
        raise CacheError(f"{other} is this cache itself; name the other one")
    cache.store.require_writable("merge")
    before = sum(cache.store.index.live_rows().values())
    for path in sorted((other / "shards").glob("*.json")):
        try:
            header = ShardHeader.from_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("%s cannot be used: %s; the shard is left out", path, error)
            continue
        _check_width(cache, header)
        _copy(cache, Shard(path.parent, path.stem, header))
    cache.store.take_in()
    for digest in quarantine.quarantined_digests(other):
        theirs = quarantine.read_quarantine(other, digest)
        quarantine.write_quarantine(cache.folder, digest, theirs | quarantine.read_quarantine(cache.folder, digest))
    return sum(cache.store.index.live_rows().values()) - before


def _check_width(cache: VectorCache, header: ShardHeader) -> None:
    mine = cache.store.headers(header.digest)
    if mine and mine[0].dim != header.dim:
        raise CacheError(
            f"the other cache holds {header.dim}-d vectors of {header.identity.get('model', '?')}, this one "
            f"{mine[0].dim}-d under the same identity; they cannot both be right"
        )


def _copy(cache: VectorCache, shard: Shard) -> None:
    records = shard.records(slice(None))
    keys = np.empty(len(records), dtype=KEY)
    keys["high"], keys["low"] = records["high"], records["low"]
    if not len(keys) or (cache.store.locate(keys) >= 0).all():
        return
    new = Shard(cache.store.shard_folder, ShardWriter.new_name(shard.header), shard.header)
    try:
        # records first: should the other cache be growing, there are then vectors for all of them; the header last,
        # for it makes the rest a shard
        for kind in ("keys", "vectors"):
            shutil.copyfile(shard.path(kind), new.path(kind))
        write_whole(new.path("json"), shard.header.to_json())
    except OSError as error:
        new.delete()
        raise CacheError(f"cannot copy {shard.path('vectors')}: {error.strerror or error}") from error


def forget(cache: VectorCache, texts: Sequence[str]) -> int:
    """Remove texts for good, under every model: their vectors are overwritten, their keys and canaries erased.

    Returns:
        How many vectors were overwritten.
    """
    cache.store.require_writable("forget texts")
    cache.finish_writers()
    overwritten = 0
    wanted = set(texts)
    for shard_id, shard in cache.store.shards().items():
        keys = text_keys(shard.header.digest, texts)
        if wanted & set(shard.header.canaries):
            left = tuple(text for text in shard.header.canaries if text not in wanted)
            cache.store.rewrite_header(shard_id, left)
        records = shard.records(slice(None))
        rows = np.flatnonzero(contains(records, keys))
        if len(rows):
            shard.erase(rows)
            cache.store.index.drop_rows(shard_id, rows=rows)
            overwritten += len(rows)
    for digest in quarantine.quarantined_digests(cache.folder):
        gone = set(quarantine.hex_keys(text_keys(digest, texts)))
        entries = quarantine.read_quarantine(cache.folder, digest)
        left_over = {key: reason for key, reason in entries.items() if key not in gone}
        if left_over != entries:
            quarantine.write_quarantine(cache.folder, digest, left_over)
    return overwritten
