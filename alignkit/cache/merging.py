"""Taking in another cache: whole shards are copied, then checked row by row."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np

from alignkit.cache import cut_texts, locks, quarantine
from alignkit.cache.headers import ShardHeader
from alignkit.cache.keys import KEY
from alignkit.cache.shard_writer import ShardWriter
from alignkit.cache.shards import Shard
from alignkit.cache.store import ShardStore
from alignkit.errors import CacheError
from alignkit.files import write_whole

log = logging.getLogger(__name__)


def merge(store: ShardStore, other_folder: str | Path, on_rows: Callable[[int], None] = lambda count: None) -> int:
    """Take in what another cache has and this one lacks.

    Args:
        store: that takes in.
        other_folder: of the other cache.
        on_rows: called with the number of vectors that are copied, a shard at a time.

    Returns:
        How many vectors are new here.

    Raises:
        CacheError: if there is no cache in `other_folder`, or the disk refuses.
    """
    other = Path(other_folder).expanduser()
    if not (other / "shards").is_dir():
        raise CacheError(f"there is no cache in {other}: it has no folder 'shards'")
    if other.resolve() == store.folder.resolve():
        raise CacheError(f"{other} is this cache itself; name the other one")
    store.require_writable("merge")
    with store.upkeep(), _left_as_it_is(other):
        met, copied = set[bytes](), list[str]()
        for path in sorted((other / "shards").glob("*.json")):
            try:
                header = ShardHeader.from_json(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s cannot be used: %s; the shard is left out", path, error)
                continue
            _check_width(store, header)
            met.add(header.digest)
            shard = Shard(path.parent, path.stem, header)
            copied += _copy(store, shard)
            on_rows(shard.rows_on_disk())
        new = store.take_in(copied)
        mended = met.intersection(quarantine.quarantined_digests(store.folder))
        for digest in mended.union(quarantine.quarantined_digests(other)):
            theirs = quarantine.read_quarantine(other, digest)
            with store.lock(digest.hex()):  # a process that embeds with this model writes the same list
                mine = quarantine.read_quarantine(store.folder, digest)
                quarantine.write_quarantine(store.folder, digest, _without_vector(store, theirs | mine))
        for digest in cut_texts.cut_digests(other):
            with store.lock(digest.hex()):
                cut_texts.add_cut(store.folder, digest, cut_texts.read_cut(other, digest))
        return new


def _without_vector(store: ShardStore, entries: dict[str, str]) -> dict[str, str]:
    """The entries of a quarantine whose texts have no vector: one cache may have what the other could not get."""
    keys = np.frombuffer(bytes.fromhex("".join(entries)), dtype=KEY)
    return {name: entries[name] for name, place in zip(entries, store.locate(keys), strict=True) if place < 0}


def _left_as_it_is(other: Path) -> AbstractContextManager[object]:
    """Keep the other cache from being pruned while it is copied; one that cannot be written cannot be pruned either."""
    return locks.upkeep_lock(other) if os.access(other / locks.FOLDER, os.W_OK) else nullcontext()


def _check_width(store: ShardStore, header: ShardHeader) -> None:
    same = (shard.header for shard in store.shards().values() if shard.header.digest == header.digest)
    mine = next(same, None)
    if mine is not None and mine.dim != header.dim:
        raise CacheError(
            f"the other cache holds {header.dim}-d vectors of {header.identity.get('model', '?')}, this one "
            f"{mine.dim}-d under the same identity; they cannot both be right"
        )


def _copy(store: ShardStore, shard: Shard) -> list[str]:
    """Copy a shard that has anything new; returns the copy's name, if one was made."""
    records = shard.records(slice(None))
    keys = np.empty(len(records), dtype=KEY)
    keys["high"], keys["low"] = records["high"], records["low"]
    if not len(keys) or (store.locate(keys) >= 0).all():
        return []
    new = Shard(store.shard_folder, ShardWriter.new_name(shard.header), shard.header)
    try:
        # records first: should the other cache be growing, there are then vectors for all of them; the header last,
        # for it makes the rest a shard
        for kind in ("keys", "vectors"):
            shutil.copyfile(shard.path(kind), new.path(kind))
            _sync(new.path(kind))
    except BaseException as error:
        new.delete()
        if not isinstance(error, OSError):
            raise
        raise CacheError(f"cannot copy {shard.path('vectors')}: {error.strerror or error}") from error
    write_whole(new.path("json"), shard.header.to_json())
    return [new.name]


def _sync(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())
