"""Dropping what is not needed: vectors of other models, and the holes that forgotten texts left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.cache import cut_texts, quarantine
from alignkit.cache.keys import identity_digest
from alignkit.cache.shard_writer import ShardWriter
from alignkit.cache.shards import DELETED, Shard
from alignkit.cache.store import ShardStore
from alignkit.errors import CacheError

log = logging.getLogger(__name__)

BLOCK_ROWS = 50_000


@dataclass
class Removed:
    """What went.

    Attributes:
        rows: vectors of models that are not kept.
        bytes: on disk.
        damaged: vectors of models that are kept, whose checksum did not hold; their texts are embedded again.
        in_use: files that another process holds (Windows): their shards stay as they are.
    """

    rows: int = 0
    bytes: int = 0
    damaged: int = 0
    in_use: list[str] = field(default_factory=list)


def prune(store: ShardStore, keep: Iterable[Mapping[str, Any]]) -> Removed:
    """Drop every vector that none of the identities in `keep` made, and rewrite what is left of shards full of holes.

    Raises:
        CacheError: if nothing would be left (a mistyped model, most likely), or another process is embedding with a
            model whose shards would change; nothing has been deleted then.
    """
    kept = {identity_digest(identity) for identity in keep}
    store.require_writable("prune")
    with store.upkeep():
        shards = store.shards()
        if shards and not any(shard.header.digest in kept for shard in shards.values()):
            raise CacheError("prune would leave nothing: the cache holds none of these models; see action=list")
        live = store.index.live_rows()
        changing = {
            shard_id: shard
            for shard_id, shard in shards.items()
            if shard.header.digest not in kept or live.get(shard_id, 0) * 2 <= shard.rows_on_disk()
        }
        quarantined = set(quarantine.quarantined_digests(store.folder)) - kept
        cut = set(cut_texts.cut_digests(store.folder)) - kept
        removed = Removed()
        with store.nobody_embeds({shard.header.digest for shard in changing.values()} | quarantined | cut, "prune"):
            for shard_id, shard in changing.items():
                _drop(store, shard_id, shard, live.get(shard_id, 0), shard.header.digest in kept, removed)
            for digest in cut:
                cut_texts.remove_cut(store.folder, digest)
            for digest in quarantined:
                quarantine.write_quarantine(store.folder, digest, {})
        _sweep(store, removed)
    return removed


def _drop(store: ShardStore, shard_id: int, shard: Shard, rows: int, keep_rows: bool, removed: Removed) -> None:
    size = shard.bytes_on_disk()
    successor, damaged = _rewrite(store, shard_id, shard) if keep_rows and rows else (None, 0)
    try:
        store.delete_shard(shard_id, shard)
    except CacheError as error:
        removed.in_use.append(str(error))
        if successor is not None:  # or everything would stand there twice
            store.delete_shard(*successor)
        return
    removed.bytes += size - (successor[1].bytes_on_disk() if successor else 0)
    removed.damaged += damaged
    removed.rows += 0 if keep_rows else rows


def _rewrite(store: ShardStore, shard_id: int, shard: Shard) -> tuple[tuple[int, Shard], int]:
    """Copy the rows that can be found to a new shard; a damaged one must not get a checksum that holds.

    Returns:
        the new shard with its id, and how many rows were damaged.
    """
    writer = ShardWriter(store.shard_folder, shard.header)
    new_id = store.index.register(writer.shard.name, shard.header.to_json())
    rows = store.index.rows_of(shard_id)
    try:
        for start in range(0, len(rows), BLOCK_ROWS):
            keys, vectors, intact = shard.checked(rows[start : start + BLOCK_ROWS])
            first = writer.rows
            writer.append(keys[intact], vectors[intact])
            writer.sync()
            store.index.add(new_id, keys[intact], np.arange(first, writer.rows), writer.rows)
    finally:
        writer.close()
    return (new_id, writer.shard), len(rows) - writer.rows


def _sweep(store: ShardStore, removed: Removed) -> None:
    """Delete files that belong to no shard: left by a deletion or a merge that was cut short."""
    headers = {path.stem for path in store.shard_folder.glob("*.json")}
    for path in store.shard_folder.iterdir():
        if path.suffix == DELETED or (path.suffix in (".keys", ".vectors") and path.stem not in headers):
            _sweep_one(path, removed)


def _sweep_one(path: Path, removed: Removed) -> None:
    try:
        size = path.stat().st_size
        path.unlink()
        removed.bytes += size
    except FileNotFoundError:
        pass
    except OSError as error:
        removed.in_use.append(f"{path} is in use ({error.strerror or error})")
