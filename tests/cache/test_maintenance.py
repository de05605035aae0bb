from __future__ import annotations

import numpy as np
import pytest
from hash_embedder import HashEmbedder, hash_vector

from alignkit.cache import VectorCache, writing
from alignkit.errors import CacheError

TEXTS = [f"text {number}" for number in range(60)]


def expected(texts):
    return np.array([hash_vector(text, 8) for text in texts])


class TestPrune:
    def test_it_drops_the_other_models_and_nothing_else(self, cache, embedder):
        other = HashEmbedder(digest="d2")
        cache.fill(embedder, [*TEXTS, "bad"])
        cache.fill(other, [*TEXTS, "bad"])
        size = sum(model.bytes for model in cache.identities())
        removed = cache.prune([embedder.identity()])
        assert removed.rows == 60
        assert removed.bytes == size - cache.identities()[0].bytes
        assert [model.identity for model in cache.identities()] == [embedder.identity()]
        np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))
        assert cache.quarantined(other.identity(), ["bad"]) == {}
        assert cache.quarantined(embedder.identity(), ["bad"]) == {0: "the model said NaN"}
        assert not [
            path
            for path in cache.store.shard_folder.iterdir()
            if not path.name.startswith(next(cache.store.shard_folder.glob("*.json")).stem)
        ]

    def test_a_writer_that_is_still_open_begins_another_shard(self, cache, embedder):
        other = HashEmbedder(digest="d2")
        cache.fill(embedder, TEXTS)
        cache.fill(other, TEXTS)
        cache.prune([embedder.identity()])
        assert cache.fill(other, TEXTS).new == 60
        np.testing.assert_array_equal(cache.gather(other.identity(), TEXTS), expected(TEXTS))

    def test_a_writer_in_another_process_too(self, folder, embedder):
        other = HashEmbedder(digest="d2")
        with VectorCache(folder) as writer, VectorCache(folder) as pruner:
            writer.fill(embedder, TEXTS)
            writer.fill(other, TEXTS)
            pruner.prune([embedder.identity()])
            assert writer.fill(other, TEXTS).new == 60
            np.testing.assert_array_equal(pruner.gather(other.identity(), TEXTS), expected(TEXTS))

    def test_while_another_process_embeds_it_says_so(self, folder, embedder):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
            cache.fill(HashEmbedder(digest="d2"), TEXTS)
            with cache.store.lock(next(iter(cache.store.shards().values())).header.digest.hex()):
                with (
                    VectorCache(folder) as pruner,
                    pytest.raises(CacheError, match="another process is embedding with"),
                ):
                    pruner.prune([HashEmbedder(digest="d2").identity()])
            np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))

    def test_nothing_in_use_is_a_mistake(self, cache, embedder):
        cache.fill(embedder, TEXTS)
        with pytest.raises(CacheError, match="would leave nothing"):
            cache.prune([HashEmbedder(digest="d2").identity()])
        assert len(cache.missing(embedder.identity(), TEXTS)) == 0

    def test_a_shard_full_of_holes_is_written_anew(self, cache, embedder):
        cache.fill(embedder, TEXTS)
        cache.forget(TEXTS[:50])
        size = cache.identities()[0].bytes
        assert cache.prune([embedder.identity()]).rows == 0
        assert cache.identities()[0].bytes < size / 1.5
        np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS[50:]), expected(TEXTS[50:]))
        assert cache.verify().problems == []

    def test_left_over_files_are_swept(self, cache, embedder):
        cache.fill(embedder, TEXTS)
        orphan = cache.store.shard_folder / "0123-4567.vectors"
        orphan.write_bytes(bytes(100))
        assert any("0123-4567" in problem for problem in cache.verify().problems)
        assert cache.prune([embedder.identity()]).bytes == 100
        assert not orphan.exists()


class TestMerge:
    @pytest.fixture
    def other(self, tmp_path):
        with VectorCache(tmp_path / "other") as opened:
            yield opened

    def test_it_takes_in_what_is_new(self, cache, other, embedder, monkeypatch):
        monkeypatch.setattr(writing, "SHARD_BYTES", 16 * 20)
        cache.fill(embedder, TEXTS[:40])
        other.fill(embedder, TEXTS[20:])
        other.fill(HashEmbedder(digest="d2"), [*TEXTS[:10], "bad"])
        assert cache.merge(other.folder) == 20 + 10
        assert [model.rows for model in cache.identities()] == [60, 10]
        assert len(cache.missing(embedder.identity(), TEXTS)) == 0
        np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))
        assert cache.quarantined(HashEmbedder(digest="d2").identity(), ["bad"]) == {0: "the model said NaN"}
        assert cache.verify().problems == []
        assert cache.merge(other.folder) == 0

    def test_what_it_brings_is_remembered(self, cache, other, embedder):
        other.fill(embedder, TEXTS)
        cache.merge(other.folder)
        embedder.is_up = False
        assert cache.fill(embedder, TEXTS).cached == 60

    def test_damaged_rows_are_left_out(self, cache, other, embedder):
        other.fill(embedder, TEXTS)
        (path,) = other.store.shard_folder.glob("*.vectors")
        content = bytearray(path.read_bytes())
        content[16 * 7] ^= 1
        path.write_bytes(content)
        assert cache.merge(other.folder) == 59
        assert cache.missing(embedder.identity(), TEXTS).tolist() == [7]

    def test_copying_files_is_merging(self, cache, other, embedder):
        other.fill(embedder, TEXTS)
        for path in other.store.shard_folder.iterdir():
            (cache.store.shard_folder / path.name).write_bytes(path.read_bytes())
        cache.store.take_in()
        np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))

    def test_another_width_under_the_same_identity_is_refused(self, cache, other, embedder):
        cache.fill(embedder, TEXTS)
        narrow = HashEmbedder(dim=4)
        narrow.identity = embedder.identity
        other.fill(narrow, TEXTS)
        with pytest.raises(CacheError, match="holds 4-d vectors of hash, this one 8-d"):
            cache.merge(other.folder)

    def test_no_cache_there_or_this_one_itself(self, cache, tmp_path):
        with pytest.raises(CacheError, match="there is no cache in"):
            cache.merge(tmp_path)
        with pytest.raises(CacheError, match="this cache itself"):
            cache.merge(cache.folder)


class TestForget:
    def test_no_trace_is_left_on_disk(self, folder, embedder):
        secret = "my very secret sentence"
        with VectorCache(folder) as cache:
            cache.fill(embedder, [secret, "a"])
            cache.fill(HashEmbedder(digest="d2"), [*TEXTS, secret, "bad secret"])
            assert cache.forget([secret, "bad secret", "never seen"]) == 2
            assert cache.missing(embedder.identity(), [secret, "a"]).tolist() == [0]
            assert len(cache.missing(HashEmbedder(digest="d2").identity(), TEXTS)) == 0
            assert cache.quarantined(HashEmbedder(digest="d2").identity(), ["bad secret"]) == {}
            assert cache.verify().problems == []
        vector = hash_vector(secret, 8).astype(np.float16).tobytes()
        for path in folder.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert secret.encode() not in content
                assert vector not in content

    def test_a_lost_index_does_not_bring_it_back(self, folder, embedder):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
            cache.forget(TEXTS[:5])
        (folder / "index.sqlite").unlink()
        with VectorCache(folder) as cache:
            assert cache.missing(embedder.identity(), TEXTS).tolist() == list(range(5))
            assert cache.fill(embedder, TEXTS).new == 5
            np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))

    def test_every_copy_of_it_goes(self, cache, embedder, tmp_path):
        with VectorCache(tmp_path / "other") as other:
            other.fill(embedder, TEXTS)
            cache.fill(embedder, TEXTS[:1])
            cache.merge(other.folder)
        assert cache.forget(TEXTS[:1]) == 2
        assert cache.missing(embedder.identity(), TEXTS).tolist() == [0]
