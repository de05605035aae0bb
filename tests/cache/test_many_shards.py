"""What a cache of many shards costs: each step of SQLite is counted, since clocks tell nothing on a busy machine."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from hash_embedder import HashEmbedder

from alignkit.cache import VectorCache
from alignkit.cache.cache_folder import SHARDS, prepare
from alignkit.cache.headers import ShardHeader
from alignkit.cache.keys import identity_digest, text_keys
from alignkit.cache.shard_writer import ShardWriter

KEPT, LEFT = {"model": "kept"}, {"model": "left"}
ROWS, FEW, MANY = 640, 2, 32


def texts_of(rows=None):
    return [f"text {row}" for row in range(ROWS if rows is None else rows)]


def filled(folder, shards):
    """Two models' vectors of the same texts, each model's in so many shards."""
    prepare(folder, True, False)
    for identity in (KEPT, LEFT):
        keys = text_keys(identity_digest(identity), texts_of())
        for part in np.split(np.arange(ROWS), shards):
            writer = ShardWriter(folder / SHARDS, ShardHeader(identity, 4, "float16"))
            writer.append(keys[part], np.outer(part + 1, np.ones(4)).astype(np.float16))
            writer.close()
    return VectorCache(folder)


@contextmanager
def counted(cache):
    """How many times SQLite has done fifty of its steps."""
    fifties = [0]

    def count():
        fifties[0] += 1

    cache.store.index._db.set_progress_handler(count, 50)
    yield fifties
    cache.store.index._db.set_progress_handler(None, 50)


def cost(folder, shards, work):
    with filled(folder / str(shards), shards) as cache:
        cache.gather(KEPT, texts_of(1))
        with counted(cache) as fifties:
            work(cache)
    return fifties[0]


def one_damaged_row_a_shard(cache):
    for shard in cache.store.shards().values():
        with shard.path("vectors").open("r+b") as file:
            file.write(b"damaged!")


def a_look(cache):
    for text in texts_of(40):
        assert len(cache.gather(KEPT, [text])) == 1


def verifying(cache):
    one_damaged_row_a_shard(cache)
    assert len(cache.verify().problems) == len(cache.store.shards())
    assert len(cache.missing(KEPT, texts_of())) == len(cache.store.shards()) / 2


def pruning(cache):
    assert cache.prune([KEPT]).rows == ROWS
    assert len(cache.missing(LEFT, texts_of())) == ROWS
    assert not len(cache.missing(KEPT, texts_of()))


def forgetting(cache):
    assert cache.forget(texts_of()[::3]) == 2 * len(texts_of()[::3])
    np.testing.assert_array_equal(cache.missing(KEPT, texts_of()), np.arange(0, ROWS, 3))


def losing_half_of_them(cache):
    # those made within one tick of the clock are in no order: half of each model's
    for shard in sorted(cache.store.shards().values(), key=lambda shard: shard.header.identity["model"])[::2]:
        shard.delete()
    cache.store.take_in()
    assert len(cache.missing(KEPT, texts_of())) == ROWS / 2


def taking_in_a_small_one(cache):
    with VectorCache(cache.folder.with_name(f"{cache.folder.name} small")) as small:
        small.fill(HashEmbedder(), texts_of(20))
    assert cache.merge(small.folder) == 20


@pytest.mark.parametrize("work", [a_look, verifying, pruning, forgetting, losing_half_of_them, taking_in_a_small_one])
def test_it_costs_as_much_in_many_shards_as_in_few(tmp_path, work):
    few, many = (cost(tmp_path, shards, work) for shards in (FEW, MANY))
    assert many < 2 * few + MANY


def test_shards_with_holes_are_replaced_a_few_at_a_time(tmp_path, monkeypatch):
    """Where the disk is full there is no room for all new shards beside all old ones."""
    monkeypatch.setattr("alignkit.cache.pruning.THINNED_BYTES", 1)
    with filled(tmp_path / "cache", 8) as cache:
        gone = [text for row, text in enumerate(texts_of()) if row % 4]
        cache.forget(gone)
        on_disk, deleting = [], cache.store.delete_shards

        def delete(shards):
            on_disk.append(len(list(cache.store.shard_folder.glob("*.json"))))
            return deleting(shards)

        monkeypatch.setattr(cache.store, "delete_shards", delete)
        removed = cache.prune([KEPT])
        assert max(on_disk[1:]) == 9
        assert (removed.rows, removed.damaged, removed.in_use) == (ROWS / 4, 0, [])
        np.testing.assert_array_equal(cache.missing(KEPT, texts_of()), [row for row in range(ROWS) if row % 4])


def test_rows_that_can_be_found(tmp_path):
    with filled(tmp_path / "cache", 4) as cache:
        cache.forget(texts_of(3))
        found = cache.store.index.found_rows()
        assert {len(rows) for rows in found.values()} == {ROWS // 4}
        assert sum(rows.sum() for rows in found.values()) == 2 * (ROWS - 3)
        assert [np.flatnonzero(~rows).tolist() for rows in found.values() if not rows.all()] == [[0, 1, 2]] * 2


def test_taking_in_a_small_cache_costs_the_same_however_large_the_other_is(tmp_path, monkeypatch):
    """Workers' caches are taken in one after another: what each costs must not grow with those before."""
    few = cost(tmp_path / "few", FEW, taking_in_a_small_one)
    monkeypatch.setitem(globals(), "ROWS", 16 * ROWS)
    assert cost(tmp_path / "many", FEW, taking_in_a_small_one) < 2 * few + MANY
