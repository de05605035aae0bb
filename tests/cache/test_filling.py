from __future__ import annotations

import logging

import numpy as np
import pytest
from hash_embedder import HashEmbedder, hash_vector

from alignkit.cache import CachedEmbedder, KeyedTexts, VectorCache
from alignkit.embedders.base import EmbeddedBatch, embed_all
from alignkit.errors import CacheError, EmbedderError

TEXTS = [f"text {number}" for number in range(40)]


class Broken(HashEmbedder):
    """Two sound batches, then what `batch` makes of the third."""

    def __init__(self, batch):
        super().__init__(batch_size=10)
        self._batch = batch

    def embed(self, texts, role="document"):
        for number, batch in enumerate(super().embed(texts, role)):
            yield self._batch(batch) if number == 2 else batch


def with_value(value):
    def change(batch):
        vectors = batch.vectors.copy()
        vectors[3, 2] = value
        return EmbeddedBatch(batch.indices, vectors)

    return change


FAULTS = {
    "NaN": (with_value(np.nan), "NaN or Inf"),
    "Inf": (with_value(np.inf), "NaN or Inf"),
    "another width": (
        lambda b: EmbeddedBatch(b.indices, b.vectors[:, :7]),
        r"shape \(10, 8\), the model gave \(10, 7\)",
    ),
    "too few": (lambda b: EmbeddedBatch(b.indices, b.vectors[:9]), r"the model gave \(9, 8\)"),
    "one twice": (lambda b: EmbeddedBatch(np.full(10, b.indices[0]), b.vectors), "twice"),
    "one again": (lambda b: EmbeddedBatch(b.indices - 10, b.vectors), "twice"),
    "a stranger": (lambda b: EmbeddedBatch(b.indices + 100, b.vectors), "not given"),
    "both": (lambda b: EmbeddedBatch(b.indices, b.vectors, {int(b.indices[0]): "why"}), "twice"),
    "none": (lambda b: EmbeddedBatch(b.indices[:0], b.vectors[:0]), "no answer for 10 of 40"),
}


@pytest.mark.parametrize(("batch", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_no_wrong_vector_is_stored_and_what_came_before_is(cache, batch, message):
    embedder = Broken(batch)
    with pytest.raises(EmbedderError, match=message):
        cache.fill(embedder, TEXTS)
    missing = cache.missing(embedder.identity(), TEXTS).tolist()
    assert missing == list(range(20, 30 if message.startswith("no answer") else 40))
    there = [text for place, text in enumerate(TEXTS) if place not in missing]
    np.testing.assert_array_equal(
        cache.gather(embedder.identity(), there), np.array([hash_vector(text, 8) for text in there])
    )
    assert cache.verify().problems == []


def test_a_width_unlike_the_stored_one_is_refused(cache, embedder):
    cache.fill(embedder, TEXTS[:10])
    narrow = HashEmbedder(dim=4)
    narrow.identity = embedder.identity
    with pytest.raises(EmbedderError, match=r"expected vectors of shape \(16, 8\), the model gave \(16, 4\)"):
        cache.fill(narrow, TEXTS)


def test_an_embedder_that_fails_halfway_loses_nothing(cache, embedder):
    class Fails(HashEmbedder):
        def embed(self, texts, role="document"):
            for number, batch in enumerate(super().embed(texts, role)):
                if number == 2:
                    raise EmbedderError("the server is gone")
                yield batch

    with pytest.raises(EmbedderError, match="gone"):
        cache.fill(Fails(batch_size=10), TEXTS)
    assert cache.fill(embedder, TEXTS).new == 20


class Fails(HashEmbedder):
    """From a batch on, no text has a vector: weights that are NaN, a server that gives zeros."""

    def __init__(self, first, **more):
        super().__init__(batch_size=10, **more)
        self._left = first

    def embed(self, texts, role="document"):
        for batch in super().embed(texts, role):
            if self._left > 0:
                yield batch
            else:
                failed = {int(place): "the model gave a vector that is zero" for place in batch.indices}
                yield EmbeddedBatch(batch.indices[:0], batch.vectors[:0], {**failed, **batch.failures})
            self._left -= 1


@pytest.mark.parametrize("sound", [0, 2])
def test_a_model_that_gives_no_vector_at_all_is_at_fault_and_not_its_texts(cache, embedder, sound):
    with pytest.raises(EmbedderError, match=r"hash gives no vector, not even for a plain sentence \(.* zero\)"):
        cache.fill(Fails(sound), TEXTS)
    assert cache.quarantined(embedder.identity(), TEXTS) == {}
    assert cache.fill(embedder, TEXTS).new == 40 - 10 * sound  # the same command, with the model mended


def test_texts_at_fault_are_held_against_them_though_a_batch_has_no_other(cache, embedder):
    bad = [f"bad {number}" for number in range(30)]
    report = cache.fill(embedder, [*TEXTS, *bad])
    assert (report.new, set(report.quarantined)) == (40, set(bad))


def test_where_only_blanks_are_left_the_model_is_not_asked(cache):
    class RefusesBlanks(HashEmbedder):
        def embed(self, texts, role="document"):
            assert all(not text.strip() for text in texts)
            yield EmbeddedBatch(
                np.empty(0, np.int64), np.empty((0, 8), np.float32), dict.fromkeys(range(len(texts)), "blank")
            )

    assert cache.fill(RefusesBlanks(), ["", "  "]).quarantined == {"": "blank", "  ": "blank"}


def test_an_interrupt_keeps_what_was_stored_and_stops_the_requests(cache, embedder):
    stopped = []

    class Watched(HashEmbedder):
        def embed(self, texts, role="document"):
            try:
                yield from super().embed(texts, role)
            finally:
                stopped.append(True)

    def interrupt(count):
        if count and len(watched.asked) == 20:
            raise KeyboardInterrupt

    watched = Watched(batch_size=10)
    with pytest.raises(KeyboardInterrupt):
        cache.fill(watched, TEXTS, on_batch=interrupt)
    assert stopped == [True]
    assert watched.asked == TEXTS[:20]
    assert cache.fill(embedder, TEXTS).cached == 20


def test_progress_counts_every_distinct_text_once(cache, embedder):
    cache.fill(embedder, [*TEXTS[:10], "bad 0"])
    counts = []
    cache.fill(embedder, [*TEXTS, *TEXTS, "bad 0", "bad 1"], on_batch=counts.append)
    assert counts[0] == 11
    assert sum(counts) == 42


def test_a_vector_is_stored_before_it_is_handed_on(folder, embedder):
    identity = embedder.identity()
    with VectorCache(folder) as cache, VectorCache(folder) as reader:
        batches = cache.embed_missing(embedder, "document", identity, KeyedTexts(TEXTS))
        next(batches)
        reader.store.take_in()
        assert len(reader.missing(identity, TEXTS)) == len(TEXTS) - embedder.batch_size
        batches.close()


class TestCanaries:
    def test_a_new_version_that_embeds_alike_goes_on_and_says_so(self, folder, embedder, caplog):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS[:20])
        newer = HashEmbedder(version="2")
        newer.vector = lambda text, dim: hash_vector(text, dim) * np.float32(1.01) + np.float32(0.001)
        with caplog.at_level(logging.INFO), VectorCache(folder) as cache:
            assert cache.fill(newer, TEXTS).new == 20
            assert "server_version 1 -> 2: stored texts still embed alike" in caplog.text
            assert cache.identities()[0].provenance["server_version"] == "2"
        assert 0 < len(set(newer.asked) & set(TEXTS[:20])) <= 4
        newer.asked.clear()
        with VectorCache(folder) as cache:  # it is asked for canaries only once
            cache.fill(newer, [*TEXTS, "one more"])
        assert newer.asked == ["one more"]

    def test_one_that_embeds_otherwise_stops_before_anything_is_stored(self, folder, embedder):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS[:20])
        newer = HashEmbedder(version="2", vector=lambda text, dim: hash_vector(text + " ", dim))
        with VectorCache(folder) as cache:
            with pytest.raises(
                CacheError, match=r"server_version 1 -> 2, but hash now embeds texts unlike .* \(lowest cosine"
            ):
                cache.fill(newer, TEXTS)
            assert len(cache.missing(embedder.identity(), TEXTS)) == 20

    def test_the_threshold_is_a_cosine_of_0_999(self, folder, embedder):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS[:20])

        def turned(cosine):
            def vector(text, dim):
                old = hash_vector(text, dim)
                other = hash_vector(text + " ", dim)
                other -= old * (other @ old) / (old @ old)
                other *= np.linalg.norm(old) / np.linalg.norm(other)
                return (cosine * old + np.sqrt(1 - cosine**2) * other).astype(np.float32)

            return HashEmbedder(version=str(cosine), vector=vector)

        with VectorCache(folder) as cache, pytest.raises(CacheError, match="0.998"):
            cache.fill(turned(0.998), TEXTS)
        with VectorCache(folder) as cache:
            assert cache.fill(turned(0.9995), TEXTS).new == 20

    def test_where_all_is_cached_a_new_version_is_not_asked(self, folder, embedder):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
        newer = HashEmbedder(version="2")
        with VectorCache(folder) as cache:
            cache.fill(newer, TEXTS)
        assert newer.asked == []

    def test_forgotten_canaries_do_not_stand_in_the_way(self, folder, embedder, caplog):
        with VectorCache(folder) as cache:
            cache.fill(embedder, TEXTS)
            cache.forget(TEXTS)
        with caplog.at_level(logging.INFO), VectorCache(folder) as cache:
            assert cache.fill(HashEmbedder(version="2"), TEXTS).new == 40
        assert "no stored text is left for a comparison" in caplog.text


class TestCachedEmbedder:
    def test_it_is_an_embedder(self, cache, embedder):
        cached = CachedEmbedder(embedder, cache)
        assert cached.dim == 8
        assert (cached.identity(), cached.settings("query")) == (embedder.identity(), embedder.settings("query"))
        assert cached.provenance() == embedder.provenance()
        np.testing.assert_array_equal(embed_all(cached, TEXTS), np.array([hash_vector(text, 8) for text in TEXTS]))

    def test_mixed_cached_new_and_repeated_texts_come_each_once_in_place(self, cache, embedder):
        cache.fill(embedder, TEXTS[::3])
        embedder.asked.clear()
        texts = [*TEXTS, *TEXTS[:5], *TEXTS[-5:]]
        seen = np.concatenate([batch.indices for batch in CachedEmbedder(embedder, cache).embed(texts)])
        assert sorted(seen.tolist()) == list(range(50))
        assert len(embedder.asked) == len(set(embedder.asked)) == 26
        np.testing.assert_array_equal(
            embed_all(CachedEmbedder(embedder, cache), texts), np.array([hash_vector(text, 8) for text in texts])
        )

    def test_failures_come_at_every_position_now_and_later(self, cache, embedder):
        texts = ["good", "bad", "fine", "bad"]
        for _ in range(2):
            batches = list(CachedEmbedder(embedder, cache).embed(texts))
            failures = {place: reason for batch in batches for place, reason in batch.failures.items()}
            assert failures == {1: "the model said NaN", 3: "the model said NaN"}
            assert sorted(np.concatenate([batch.indices for batch in batches]).tolist()) == [0, 2]
        assert embedder.asked == ["good", "bad", "fine"]

    def test_the_first_run_gives_the_numbers_of_the_second(self, cache):
        embedder = HashEmbedder(vector=lambda text, dim: hash_vector(text, dim) / np.float32(3))
        first = embed_all(CachedEmbedder(embedder, cache), TEXTS)
        np.testing.assert_array_equal(first, embed_all(CachedEmbedder(embedder, cache), TEXTS))
        assert len(embedder.asked) == 40

    def test_without_its_server_it_gives_what_is_cached(self, cache, embedder):
        cache.fill(embedder, TEXTS)
        embedder.is_up = False
        cached = CachedEmbedder(embedder, cache)
        assert cached.dim == 8
        assert embed_all(cached, TEXTS).shape == (40, 8)
        with pytest.raises(EmbedderError, match="nothing answers"):
            embed_all(cached, ["new"])
