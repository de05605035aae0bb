"""Removing texts for good, under every model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alignkit.cache import cut_texts, quarantine
from alignkit.cache.index import ROW_BITS
from alignkit.cache.keys import contains, text_keys
from alignkit.cache.store import ShardStore

BLOCK_ROWS = 1_000_000


def forget(store: ShardStore, texts: Sequence[str]) -> int:
    """Overwrite the vectors of texts, and erase their keys and canaries.

    Returns:
        How many vectors were overwritten.

    Raises:
        CacheError: if another process is embedding: it might be embedding one of the texts just now.
    """
    store.require_writable("forget texts")
    overwritten = 0
    wanted = set(texts)
    with store.upkeep():
        shards = store.shards()
        quarantined = quarantine.quarantined_digests(store.folder)
        cut = cut_texts.cut_digests(store.folder)
        with store.nobody_embeds({*quarantined, *cut, *(shard.header.digest for shard in shards.values())}, "forget"):
            store.take_in()  # what a killed process had stored
            keys_of: dict[bytes, np.ndarray] = {}
            for shard_id, shard in store.shards().items():
                digest = shard.header.digest
                if digest not in keys_of:
                    keys_of[digest] = text_keys(digest, texts)
                if wanted & set(shard.header.canaries):
                    left = tuple(text for text in shard.header.canaries if text not in wanted)
                    store.rewrite_header(shard_id, left)
                for start in range(0, shard.rows_on_disk(), BLOCK_ROWS):
                    records = shard.records(slice(start, start + BLOCK_ROWS))
                    here = np.flatnonzero(contains(records, keys_of[digest]))
                    if len(here):
                        shard.erase(start + here)
                        store.index.drop_keys(records[here], (shard_id << ROW_BITS) + start + here)
                        overwritten += len(here)
            for digest in cut:
                cut_texts.remove_cut(store.folder, digest, text_keys(digest, texts))
            for digest in quarantined:
                gone = set(quarantine.hex_keys(text_keys(digest, texts)))
                entries = quarantine.read_quarantine(store.folder, digest)
                left_over = {key: reason for key, reason in entries.items() if key not in gone}
                if left_over != entries:
                    quarantine.write_quarantine(store.folder, digest, left_over)
    return overwritten
