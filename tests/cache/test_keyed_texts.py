"""A text is hashed once on its way, however many parts of the cache ask for it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hash_embedder import HashEmbedder

from alignkit.cache import CachedEmbedder, KeyedTexts, VectorCache
from alignkit.cache.index import Index
from alignkit.cache.keys import text_keys
from alignkit.cache.saving import save_vectors, saving_to
from alignkit.embedders.base import embed_all
from alignkit.sentences.records import Sentence

PLAIN = [f"text {number}" for number in range(40)]
FIRST, SECOND = bytes(16), bytes(range(16))


class Hashed(str):
    """A text that counts how often it is turned into the bytes of a key."""

    count: Counter[str] = Counter()

    def encode(self, encoding="utf-8", errors="strict"):
        self.count[str(self)] += 1
        return super().encode(encoding, errors)


@pytest.fixture
def texts():
    Hashed.count = Counter()
    return [Hashed(text) for text in PLAIN]


@pytest.fixture
def sought(monkeypatch):
    """How many keys were looked for in the index."""
    counted = []
    find = Index.find
    monkeypatch.setattr(Index, "find", lambda index, keys: (counted.append(len(keys)), find(index, keys))[1])
    return counted


def plain_vector(text, dim):
    return np.full(dim, 1 + int(str(text).split()[-1]) if str(text)[-1].isdigit() else 1, dtype=np.float32)


@pytest.fixture
def embedder():
    return HashEmbedder(vector=plain_vector)


def test_keys_are_those_of_the_texts():
    texts = KeyedTexts(["b", "a", "b", "c"])
    np.testing.assert_array_equal(texts.keys(FIRST), text_keys(FIRST, ["b", "a", "b", "c"]))
    some = texts.take(np.array([3, 1]))
    assert list(some) == ["c", "a"] and some[:1] == ["c"]
    np.testing.assert_array_equal(some.keys(SECOND), text_keys(SECOND, ["c", "a"]))
    np.testing.assert_array_equal(texts.keys(SECOND), text_keys(SECOND, list(texts)))
    assert some.firsts().tolist() == [0, 1] and texts.numbers().tolist() == [0, 1, 0, 2]
    assert len(KeyedTexts([]).keys(FIRST)) == 0 and len(texts.take(np.empty(0, np.int64)).keys(FIRST)) == 0


def test_parts_and_repetitions_share_what_was_hashed(texts):
    keyed = KeyedTexts([*texts, *texts[:5]])
    keyed.take(np.array([3, 7])).keys(FIRST)
    assert Hashed.count == Counter(PLAIN[3:4] + PLAIN[7:8])
    keyed.keys(FIRST), keyed.take(keyed.firsts()).keys(FIRST), KeyedTexts.of(keyed).keys(FIRST)
    assert Hashed.count == Counter(PLAIN)
    keyed.keys(SECOND)
    assert set(Hashed.count.values()) == {2}  # another identity, another key


@pytest.mark.parametrize("stored", [0, 10, 40], ids=["none stored", "some stored", "all stored"])
def test_a_fill_hashes_and_finds_each_text_once(cache, embedder, texts, sought, stored):
    cache.fill(embedder, PLAIN[:stored])
    sought.clear()
    assert cache.fill(embedder, [*texts, *texts[:5]]).new == 40 - stored
    assert Hashed.count == Counter(PLAIN)
    assert sum(sought) <= 40 + 4  # and the canaries of a shard that is gone on with


def test_filling_saving_and_reading_hash_each_text_once(cache, embedder, texts, tmp_path):
    keyed = KeyedTexts(texts)
    cache.fill(embedder, keyed)
    identity = cache.identity_of(embedder)
    sentences = [Sentence(id=str(row), text=text) for row, text in enumerate(texts)]
    with saving_to(cache, tmp_path / "saved") as unfinished:
        assert save_vectors(cache, identity, sentences, unfinished, "student", keyed) == 40
    assert len(cache.missing(identity, keyed)) == 0 and cache.quarantined(identity, keyed) == {}
    assert cache.gather(identity, keyed.take(np.array([3]))).tolist() == [[4.0] * 8]
    assert Hashed.count == Counter(PLAIN)


@pytest.mark.parametrize("stored", [0, 10, 40], ids=["none stored", "some stored", "all stored"])
def test_the_cached_embedder_hashes_and_finds_each_text_once(cache, embedder, texts, sought, stored):
    cache.fill(embedder, PLAIN[:stored])
    sought.clear()
    vectors = embed_all(CachedEmbedder(embedder, cache), [*texts, *texts[:5]])
    assert vectors[:, 0].tolist() == [*range(1, 41), *range(1, 6)]
    assert Hashed.count == Counter(PLAIN)
    assert sum(sought) <= 40 + 4


def test_what_another_process_stored_between_the_look_and_the_lock_is_not_embedded_again(folder, embedder):
    class Interrupted(HashEmbedder):
        """While its identity is asked for the second time, somebody else embeds the texts."""

        def identity(self, role="document"):
            asked.append(role)
            if len(asked) == 2:
                with VectorCache(folder) as other:
                    other.fill(HashEmbedder(), PLAIN[:30])
            return super().identity(role)

    asked = []
    with VectorCache(folder) as cache:
        report = cache.fill(late := Interrupted(), PLAIN)
    assert (report.new, report.cached) == (10, 30) and sorted(late.asked) == sorted(PLAIN[30:])


def test_what_this_process_stored_in_between_is_not_embedded_again(cache):
    """Two roles of one model that say the same, one embedded while the other is looked up."""

    class Nested(HashEmbedder):
        def identity(self, role="document"):
            asked.append(role)
            if len(asked) == 2:
                cache.fill(HashEmbedder(), PLAIN[:30])
            return super().identity(role)

    asked = []
    report = cache.fill(Nested(), PLAIN)
    assert (report.new, report.cached) == (10, 30)
