"""Dropping what is not needed: vectors of other models, and the holes that forgotten texts left."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
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
# what is rewritten before the old files go: few times, since each reads the whole index, and little of a full disk
THINNED_BYTES = 1024 * 1024 * 1024


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
        found = store.index.found_rows()
        live = {shard_id: int(rows.sum()) for shard_id, rows in found.items()}
        leaving = {
            shard_id: shard
            for shard_id, shard in shards.items()
            if shard.header.digest not in kept or not live.get(shard_id)
        }
        thinned = {
            shard_id: shard
            for shard_id, shard in shards.items()
            if shard_id not in leaving and live[shard_id] * 2 <= shard.rows_on_disk()
        }
        changing = leaving | thinned
        quarantined = set(quarantine.quarantined_digests(store.folder)) - kept
        cut = set(cut_texts.cut_digests(store.folder)) - kept
        removed = Removed()
        with store.nobody_embeds({shard.header.digest for shard in changing.values()} | quarantined | cut, "prune"):
            # many at once: dropping one from the index reads the whole of it
            in_use = _delete(store, leaving, removed)
            removed.rows += sum(live.get(shard_id, 0) for shard_id in leaving if shard_id not in in_use)
            _thin_out(store, thinned, found, removed)
            for digest in cut:
                cut_texts.remove_cut(store.folder, digest)
            for digest in quarantined:
                quarantine.write_quarantine(store.folder, digest, {})
        _sweep(store, removed)
    return removed


def _delete(store: ShardStore, shards: Mapping[int, Shard], removed: Removed) -> Set[int]:
    """Delete shards; returns those that another process holds."""
    sizes = {shard_id: shard.bytes_on_disk() for shard_id, shard in shards.items()}
    in_use = store.delete_shards(shards)
    removed.in_use += map(str, in_use.values())
    removed.bytes += sum(size for shard_id, size in sizes.items() if shard_id not in in_use)
    return in_use.keys()


def _thin_out(
    store: ShardStore, shards: Mapping[int, Shard], found: Mapping[int, np.ndarray], removed: Removed
) -> None:
    """Put new shards, without the holes, in the place of these."""
    begun, written = dict[int, tuple[int, Shard, int]](), 0
    for place, (shard_id, shard) in enumerate(shards.items(), start=1):
        begun[shard_id] = _rewrite(store, shard, np.flatnonzero(found[shard_id]))
        written += begun[shard_id][1].bytes_on_disk()
        if written < THINNED_BYTES and place < len(shards):
            continue
        in_use = _delete(store, {one: shards[one] for one in begun}, removed)
        for one, (new_id, new, damaged) in begun.items():
            if one in in_use:  # or everything would stand there twice
                store.delete_shards({new_id: new})
            else:
                removed.bytes -= new.bytes_on_disk()
                removed.damaged += damaged
        begun, written = {}, 0


def _rewrite(store: ShardStore, shard: Shard, rows: np.ndarray) -> tuple[int, Shard, int]:
    """Copy some rows to a new shard; a damaged one must not get a checksum that holds.

    Returns:
        the new shard's id, the shard, and how many rows were damaged.
    """
    writer = ShardWriter(store.shard_folder, shard.header)
    new_id = store.index.register(writer.shard.name, shard.header.to_json())
    try:
        for start in range(0, len(rows), BLOCK_ROWS):
            keys, vectors, intact = shard.checked(rows[start : start + BLOCK_ROWS])
            first = writer.rows
            writer.append(keys[intact], vectors[intact])
            writer.sync()
            store.index.add(new_id, keys[intact], np.arange(first, writer.rows), writer.rows)
    finally:
        writer.close()
    return new_id, writer.shard, len(rows) - writer.rows


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
