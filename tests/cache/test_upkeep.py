from __future__ import annotations

import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hash_embedder import HashEmbedder, hash_vector
from waiting import joined, until

from alignkit.cache import VectorCache, identity_writer
from alignkit.embedders.base import EmbeddedBatch
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

    def test_damage_is_never_given_a_checksum_that_holds(self, cache, embedder):
        cache.fill(embedder, TEXTS)
        cache.forget(TEXTS[:50])
        (path,) = cache.store.shard_folder.glob("*.vectors")
        content = bytearray(path.read_bytes())
        content[16 * 53 + 2] ^= 1
        path.write_bytes(content)
        removed = cache.prune([embedder.identity()])
        assert (removed.rows, removed.damaged) == (0, 1)
        assert cache.verify().problems == []
        assert cache.missing(embedder.identity(), TEXTS[50:]).tolist() == [3]
        assert cache.fill(embedder, TEXTS[50:]).new == 1
        np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS[50:]), expected(TEXTS[50:]))

    def test_where_one_model_is_in_use_nothing_of_any_is_deleted(self, cache, embedder):
        others = [HashEmbedder(digest=f"d{number}") for number in range(2, 6)]
        for one in (embedder, *others):
            cache.fill(one, TEXTS)
        last = list(cache.store.shards().values())[-1]
        with (
            cache.store.lock(last.header.digest.hex()),
            pytest.raises(CacheError, match="another process is embedding"),
        ):
            cache.prune([embedder.identity()])
        assert [model.rows for model in cache.identities()] == [60] * 5

    def test_a_writer_holds_no_file_between_two_fills(self, cache, embedder):
        def held():
            links = (path.resolve() for path in Path("/proc/self/fd").iterdir() if path.exists())
            return [path for path in links if path.is_relative_to(cache.store.shard_folder.resolve())]

        seen = []
        if not Path("/proc/self/fd").is_dir():
            pytest.skip("needs /proc")
        for part in (TEXTS[:20], TEXTS[20:40], TEXTS[40:]):
            cache.fill(embedder, part, on_batch=lambda count: seen.append(len(held()) if count else 0))
            assert held() == []
        assert max(seen) == 2
        assert cache.identities()[0].shards == 1
        np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))

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
        monkeypatch.setattr(identity_writer, "SHARD_BYTES", 16 * 20)
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

    @pytest.mark.parametrize("mended", ["here", "there"])
    def test_a_text_that_one_of_them_could_embed_is_no_longer_quarantined(self, cache, other, embedder, mended):
        (cache if mended == "there" else other).fill(embedder, ["bad", "bad too"])
        embedder.embed = lambda texts, role: iter([EmbeddedBatch(np.array([0]), np.ones((1, 8), np.float32))])
        (other if mended == "there" else cache).fill(embedder, ["bad"])
        assert cache.merge(other.folder) == (mended == "there")
        assert cache.quarantined(embedder.identity(), ["bad", "bad too"]) == {1: "the model said NaN"}

    def test_it_counts_what_it_copies(self, cache, other, embedder):
        other.fill(embedder, TEXTS)
        counts = []
        cache.merge(other.folder, counts.append)
        cache.verify(counts.append)
        assert counts == [60, 60]

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

    def test_what_was_copied_survives_a_prune_by_another_process(self, folder, other, embedder, monkeypatch):
        other.fill(embedder, TEXTS)
        stranger = HashEmbedder(digest="d2")
        with VectorCache(folder) as cache, VectorCache(folder) as pruner:
            cache.fill(stranger, TEXTS)
            prune = threading.Thread(target=pruner.prune, args=([stranger.identity(), embedder.identity()],))
            copy = shutil.copyfile

            def slow_copy(source, target):
                copied = copy(source, target)
                if not prune.is_alive():
                    prune.start()
                prune.join(0.3)
                return copied

            monkeypatch.setattr(shutil, "copyfile", slow_copy)
            assert cache.merge(other.folder) == 60
            joined(prune)
            assert cache.verify().problems == []
            np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))

    def test_a_copy_that_fails_leaves_nothing(self, cache, other, embedder, monkeypatch):
        other.fill(embedder, TEXTS)
        before = sorted(cache.store.shard_folder.iterdir())

        def full(source, target):
            target.write_bytes(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(shutil, "copyfile", full)
        with pytest.raises(CacheError, match="cannot copy .*No space left"):
            cache.merge(other.folder)
        assert sorted(cache.store.shard_folder.iterdir()) == before

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

    def test_while_another_process_embeds_it_says_so(self, folder, embedder):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
            digest = next(iter(cache.store.shards().values())).header.digest
            with cache.store.lock(digest.hex()), pytest.raises(CacheError, match="forget when it is done"):
                cache.forget(TEXTS[:1])
            assert cache.forget(TEXTS[:1]) == 1

    def test_a_row_without_an_index_entry_goes_too(self, folder, embedder, monkeypatch):
        with VectorCache(folder) as cache:
            with monkeypatch.context() as patch:
                patch.setattr("alignkit.cache.index.Index.add", lambda *_: None)
                cache.fill(embedder, TEXTS)  # as a killed process leaves it
            assert cache.forget(TEXTS[:1]) == 1
            assert cache.missing(embedder.identity(), TEXTS).tolist() == [0]


@pytest.mark.parametrize("action", ["prune", "merge", "forget", "verify"])
def test_who_changes_the_shards_waits_for_who_does(folder, embedder, tmp_path, caplog, action):
    with VectorCache(folder) as cache, VectorCache(tmp_path / "other") as other:
        cache.fill(embedder, TEXTS)
        other.fill(embedder, [*TEXTS, "one more"])
        arguments = {"prune": [[embedder.identity()]], "merge": [other.folder], "forget": [TEXTS[:1]], "verify": []}
        thread = threading.Thread(target=getattr(cache, action), args=arguments[action])
        with cache.store.upkeep():
            thread.start()
            until(lambda: "another process is maintaining the cache" in caplog.text)
            assert thread.is_alive()
        joined(thread)
