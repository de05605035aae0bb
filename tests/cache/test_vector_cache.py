from __future__ import annotations

import logging
import pickle
import threading

import numpy as np
import pytest
from hash_embedder import HashEmbedder, hash_vector

from alignkit.cache import VectorCache, identity_writer
from alignkit.errors import CacheError, ConfigError, EmbedderError

TEXTS = [f"text {number}" for number in range(100)]


def expected(texts, dim=8):
    return np.array([hash_vector(text, dim) for text in texts])


def test_what_was_filled_is_gathered_in_any_order(cache, embedder):
    report = cache.fill(embedder, TEXTS)
    assert (report.new, report.cached, report.quarantined) == (100, 0, {})
    order = np.random.default_rng(0).permutation(100)
    wanted = [TEXTS[place] for place in order] + ["text 3", "text 3"]
    gathered = cache.gather(embedder.identity(), wanted)
    assert gathered.dtype == np.float32
    np.testing.assert_array_equal(gathered, expected(wanted))


def test_it_is_all_there_after_closing(folder, embedder):
    with VectorCache(folder) as cache:
        cache.fill(embedder, TEXTS)
    with VectorCache(folder, create=False) as cache:
        np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))


def test_repetitions_are_asked_for_once_and_a_second_fill_asks_nothing(cache, embedder):
    report = cache.fill(embedder, [*TEXTS, *TEXTS])
    assert embedder.asked == TEXTS
    again = cache.fill(embedder, TEXTS)
    assert (report.new, again.new, again.cached, again.tried, again.first_batch_s) == (100, 0, 100, 0, None)
    assert embedder.asked == TEXTS


def test_only_what_is_missing_is_asked_for(cache, embedder):
    cache.fill(embedder, TEXTS[:60])
    embedder.asked.clear()
    assert cache.missing(embedder.identity(), TEXTS).tolist() == list(range(60, 100))
    cache.fill(embedder, TEXTS)
    assert embedder.asked == TEXTS[60:]


@pytest.mark.parametrize(
    "other", [{"digest": "d2"}, {"prompt": "query: "}, {"dim": 4}], ids=["another digest", "another prompt", "width"]
)
def test_vectors_of_another_model_digest_or_prompt_are_never_mixed(cache, embedder, other):
    cache.fill(embedder, TEXTS)
    stranger = HashEmbedder(**other, vector=lambda text, dim: -hash_vector(text, dim))
    assert len(cache.missing(stranger.identity(), TEXTS)) == 100
    assert cache.fill(stranger, TEXTS).new == 100
    np.testing.assert_array_equal(cache.gather(embedder.identity(), TEXTS), expected(TEXTS))
    np.testing.assert_array_equal(cache.gather(stranger.identity(), TEXTS), -expected(TEXTS, stranger.dim))


def test_query_and_document_are_two_identities(cache, embedder):
    cache.fill(embedder, TEXTS, role="query")
    assert len(cache.missing(embedder.identity("document"), TEXTS)) == 100
    assert len(cache.missing(embedder.identity("query"), TEXTS)) == 0


def test_gather_counts_what_is_missing_and_says_what_to_do(cache, embedder):
    cache.fill(embedder, TEXTS[:97])
    with pytest.raises(CacheError, match=r"^3 of 100 texts have no vector of hash in .*alignkit\.embed"):
        cache.gather(embedder.identity(), TEXTS)


@pytest.mark.parametrize("text", ["", " ", "\0", "\ud800", "a\r\nb", "x" * 100_000, "\u6587\u5b57", "e\u0301"])
def test_any_text_is_a_key(cache, embedder, text):
    cache.fill(embedder, [text, "other"])
    np.testing.assert_array_equal(cache.gather(embedder.identity(), [text]), expected([text]))


def test_texts_that_differ_by_normalisation_only_are_two(cache, embedder):
    assert cache.fill(embedder, ["e\u0301", "\u00e9", "a", "a "]).new == 4


def test_nothing_to_embed(cache, embedder):
    assert cache.fill(embedder, []).new == 0
    assert cache.gather(embedder.identity(), []).shape == (0, 0)


class TestTypes:
    def test_float16_is_the_default_and_float32_is_kept_exactly(self, folder):
        vector = np.full(8, 1 / 3, dtype=np.float32)
        embedder = HashEmbedder(vector=lambda text, dim: vector)
        with VectorCache(folder / "a") as half, VectorCache(folder / "b", dtype="float32") as full:
            for cache in (half, full):
                cache.fill(embedder, ["a"])
            assert half.vectors_of(embedder.identity(), ["a"]).dtype == np.float16
            np.testing.assert_allclose(half.gather(embedder.identity(), ["a"])[0], vector, rtol=1e-3)
            np.testing.assert_array_equal(full.gather(embedder.identity(), ["a"])[0], vector)

    @pytest.mark.parametrize("scale", [1e5, 1e-6], ids=["too large", "too small"])
    def test_what_float16_cannot_hold_is_stored_as_float32_and_said(self, cache, caplog, scale):
        embedder = HashEmbedder(vector=lambda text, dim: hash_vector(text, dim) * (scale if "far" in text else 1))
        texts = ["near 1", "near 2", "far 1", "far 2"]
        embedder.batch_size = 2
        with caplog.at_level(logging.WARNING):
            cache.fill(embedder, texts)
        assert "stored as float32" in caplog.text
        want = np.array([embedder.vector(text, 8) for text in texts])
        np.testing.assert_allclose(cache.gather(embedder.identity(), texts), want, rtol=1e-6)
        assert cache.vectors_of(embedder.identity(), texts).dtype == np.float32

    def test_another_dtype_is_refused(self, folder):
        with pytest.raises(ConfigError, match="dtype=int8: expected float16 or float32"):
            VectorCache(folder, dtype="int8")


class TestMemory:
    def test_reading_needs_no_server(self, folder, embedder, caplog):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
        embedder.is_up = False
        embedder.asked.clear()
        with VectorCache(folder) as cache:
            identity = cache.remembered(embedder.settings())
            np.testing.assert_array_equal(cache.gather(identity, TEXTS), expected(TEXTS))
            report = cache.fill(embedder, TEXTS)
        assert report.cached == 100
        assert embedder.asked == []
        assert "Using what the cache remembers" in caplog.text

    def test_with_the_server_off_a_missing_text_is_the_servers_error(self, cache, embedder):
        cache.fill(embedder, TEXTS)
        embedder.is_up = False
        with pytest.raises(EmbedderError, match="nothing answers"):
            cache.fill(embedder, [*TEXTS, "new"])

    def test_an_unknown_model_with_its_server_off_is_the_servers_error(self, cache, embedder):
        embedder.is_up = False
        with pytest.raises(EmbedderError, match="nothing answers"):
            cache.fill(embedder, TEXTS)

    def test_other_settings_are_not_taken_for_a_remembered_model(self, cache, embedder):
        cache.fill(embedder, TEXTS)
        assert cache.remembered({**embedder.settings(), "prompt": "other"}) is None
        assert cache.remembered(embedder.settings("query")) is None

    def test_of_two_digests_the_newer_is_remembered(self, cache, embedder, monkeypatch):
        cache.fill(embedder, TEXTS)
        cache.fill(HashEmbedder(digest="d2"), TEXTS)
        assert cache.remembered(embedder.settings())["digest"] == "d2"

    def test_a_model_that_is_put_back_is_remembered_though_nothing_is_embedded(self, folder, embedder):
        """The newest vectors are the other model's, and no server is asked when they are read."""
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
            cache.fill(HashEmbedder(digest="d2"), TEXTS[:10])
            assert cache.fill(embedder, TEXTS).new == 0
        with VectorCache(folder) as cache:
            assert cache.remembered(embedder.settings()) == embedder.identity()
            cache.fill(HashEmbedder(digest="d2"), TEXTS[:20])
            assert cache.remembered(embedder.settings())["digest"] == "d2"

    def test_a_note_of_vectors_that_are_gone_or_of_no_sense_counts_for_nothing(self, folder, embedder):
        other = HashEmbedder(digest="d2")
        with VectorCache(folder) as cache:
            for filled in (embedder, other, embedder):
                cache.fill(filled, TEXTS)
            (note,) = (folder / "last_meant").iterdir()
            cache.prune([other.identity()])
            assert cache.remembered(embedder.settings())["digest"] == "d2"
            note.write_bytes(b"[1]")
            assert cache.remembered(embedder.settings())["digest"] == "d2"

    def test_a_server_that_comes_back_with_another_model_does_not_fill_the_old_identity(self, cache, embedder):
        cache.fill(embedder, TEXTS)

        class ComesBack(HashEmbedder):
            calls = 0

            def identity(self, role="document"):
                self.calls += 1
                self.is_up, self.digest = self.calls > 1, "d2"
                return super().identity(role)

        with pytest.raises(EmbedderError, match="changed while"):
            cache.fill(ComesBack(), [*TEXTS, "new"])
        assert cache.missing(embedder.identity(), ["new"]).tolist() == [0]

    def test_identities_say_what_is_there(self, cache, embedder):
        cache.fill(embedder, [*TEXTS, "bad text"])
        cache.fill(HashEmbedder(digest="d2", dim=4, version="7"), TEXTS[:10])
        first, second = cache.identities()
        assert (first.identity, first.dim, first.rows, first.quarantined) == (embedder.identity(), 8, 100, 1)
        assert (second.identity["digest"], second.dim, second.rows, second.shards) == ("d2", 4, 10, 1)
        assert second.provenance["server_version"] == "7"
        assert first.bytes >= 100 * 8 * 2
        assert first.first_written <= second.first_written


class TestQuarantine:
    def test_a_text_without_a_vector_is_reported_and_not_sent_again(self, folder, embedder):
        with VectorCache(folder) as cache:
            report = cache.fill(embedder, ["good", "bad one", "fine"])
            assert report.quarantined == {"bad one": "the model said NaN"}
            assert (report.new, report.tried) == (2, 3)
        embedder.asked.clear()
        with VectorCache(folder) as cache:
            again = cache.fill(embedder, ["good", "bad one"])
            assert cache.quarantined(embedder.identity(), ["good", "bad one"]) == {1: "the model said NaN"}
        assert (again.quarantined, again.tried, embedder.asked) == (report.quarantined, 0, [])

    def test_it_is_sent_again_on_request_and_leaves_the_list_when_mended(self, cache, embedder):
        cache.fill(embedder, ["bad one", "bad two"])
        mended = HashEmbedder()
        mended.embed = lambda texts, role="document": HashEmbedder.embed(
            mended, [text.replace("bad one", "one") for text in texts], role
        )
        report = cache.fill(mended, ["bad one", "bad two"], retry_quarantined=True)
        assert (report.new, list(report.quarantined)) == (1, ["bad two"])
        assert cache.quarantined(embedder.identity(), ["bad one", "bad two"]).keys() == {1}

    def test_a_damaged_list_counts_as_none(self, folder, embedder, caplog):
        with VectorCache(folder) as cache:
            cache.fill(embedder, ["bad one"])
            (path,) = (folder / "quarantine").iterdir()
            path.write_text("{", encoding="utf-8")
            assert cache.fill(embedder, ["bad one"]).tried == 1
        assert "damaged" in caplog.text


class TestStoredVectors:
    def test_it_reads_like_the_array(self, cache, embedder, monkeypatch):
        monkeypatch.setattr(identity_writer, "SHARD_BYTES", 16 * 20)  # several shards
        cache.fill(embedder, TEXTS)
        assert cache.identities()[0].shards > 2
        stored = cache.vectors_of(embedder.identity(), TEXTS)
        whole = expected(TEXTS)
        assert (stored.shape, len(stored), stored.ndim, stored.dtype) == ((100, 8), 100, 2, np.float16)
        np.testing.assert_array_equal(np.asarray(stored), whole)
        np.testing.assert_array_equal(stored[7], whole[7])
        np.testing.assert_array_equal(stored[5:50:7], whole[5:50:7])
        np.testing.assert_array_equal(stored[np.array([99, 0, 99])], whole[[99, 0, 99]])
        np.testing.assert_array_equal(stored[np.arange(100) % 3 == 0], whole[::3])
        np.testing.assert_array_equal(np.asarray(stored.take(np.array([3, 1]))), whole[[3, 1]])
        assert stored[:0].shape == (0, 8)

    def test_it_outlives_the_cache_and_can_be_pickled(self, folder, embedder):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
            stored = pickle.loads(pickle.dumps(cache.vectors_of(embedder.identity(), TEXTS)))
        np.testing.assert_array_equal(stored[:], expected(TEXTS))


def test_shards_are_plain_arrays(folder, embedder):
    with VectorCache(folder) as cache:
        cache.fill(embedder, TEXTS)
    (path,) = (folder / "shards").glob("*.vectors")
    rows = np.memmap(path, dtype=np.float16, mode="r").reshape(-1, 8)
    np.testing.assert_array_equal(rows, expected(TEXTS))


def test_no_file_name_is_refused_by_windows(folder, embedder):
    with VectorCache(folder) as cache:
        cache.fill(HashEmbedder(digest="sha256:ab/cd"), [*TEXTS, "bad"])
    names = [path.name for path in folder.rglob("*")]
    assert len(names) > 5
    assert not [name for name in names if set(name) & set(':*?"<>|\\')]


def test_threads_share_a_cache(cache):
    def work(digest):
        cache.fill(HashEmbedder(digest=digest), TEXTS)

    threads = [threading.Thread(target=work, args=(f"d{number % 2}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for digest in ("d0", "d1"):
        np.testing.assert_array_equal(cache.gather(HashEmbedder(digest=digest).identity(), TEXTS), expected(TEXTS))
    assert [model.rows for model in cache.identities()] == [100, 100]


def test_reading_a_cache_that_is_not_there(folder):
    with pytest.raises(CacheError, match="there is no cache in"):
        VectorCache(folder, create=False)
    assert not folder.exists()


def test_a_folder_that_is_closed_is_one_line(folder, monkeypatch):
    def closed(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.stat", closed)
    for settings in ({}, {"create": False}, {"only_read": True}):
        with pytest.raises(CacheError, match="Permission denied"):
            VectorCache(folder, **settings)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "cache").write_text("", encoding="utf-8")
    with pytest.raises(CacheError, match="cannot make a cache in .*cache"):
        VectorCache(tmp_path / "cache")


def test_the_identity_must_be_plain_json(cache, embedder):
    with pytest.raises(CacheError, match="plain JSON"):
        cache.missing({"model": object()}, TEXTS)
