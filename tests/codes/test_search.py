"""Search in codes against faiss, and against counting by hand."""

import numpy as np
import pytest

from alignkit.codes import search
from alignkit.codes.kinds import BinaryCode, make_code
from alignkit.codes.search import rescore, search_codes


def unit_vectors(count=300, dim=40, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(count, dim)).astype(np.float32) + 0.2
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def by_hand(scores, k):
    """The first k by score, ties by row."""
    return np.lexsort((np.broadcast_to(np.arange(scores.shape[1]), scores.shape), -scores), axis=1)[:, :k]


@pytest.mark.parametrize("kind", ["float32", "float16", "int8", "binary"])
@pytest.mark.parametrize("dims", [40, 16])
@pytest.mark.parametrize("block", [7 * 25, 10**6])
def test_finds_what_the_codes_say(kind, dims, block, monkeypatch):
    monkeypatch.setattr(search, "BLOCK_ELEMENTS", block)
    queries, corpus = unit_vectors(25, seed=1), unit_vectors()
    code = make_code(kind, dims, [corpus])
    asked, texts = (code.scanned(code.encode(side)).astype(np.float64) for side in (queries, corpus))
    if kind.startswith("float"):  # cosines: rounding to float16 has changed the lengths
        texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    found = search_codes(queries, corpus, code, 12)
    assert np.array_equal(found, by_hand(asked @ texts.T, 12))


def test_hamming_is_faiss(faiss):
    queries, corpus = unit_vectors(25, seed=1), unit_vectors(2000)
    code = BinaryCode(40)
    index = faiss.IndexBinaryFlat(40)
    index.add(code.encode(corpus))
    distances = index.search(code.encode(queries), 5)[0]
    found = search_codes(queries, corpus, code, 5)
    differing = (queries[:, None] > 0) != (corpus[found] > 0)
    assert np.array_equal(differing.sum(axis=2), distances)


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss")


@pytest.mark.parametrize("kind", ["float32", "int8", "binary"])
def test_a_text_does_not_find_itself(kind):
    corpus = unit_vectors(60)
    found = search_codes(corpus, corpus, make_code(kind, 40, [corpus]), 59, exclude=np.arange(60))
    assert not (found == np.arange(60)[:, None]).any()
    assert np.array_equal(np.sort(found, axis=1)[0], np.arange(1, 60))


def test_a_small_corpus_is_padded():
    corpus = unit_vectors(3)
    found = search_codes(corpus, corpus, BinaryCode(40), 5, exclude=np.arange(3))
    assert (found[:, 2:] == -1).all() and (found[:, :2] >= 0).all()
    assert (rescore(corpus, corpus, BinaryCode(40), found, 4)[:, 2:] == -1).all()


def test_wide_bytes_are_added_up_without_rounding():
    generator = np.random.default_rng(0)
    corpus = np.sign(generator.normal(size=(40, 4000))).astype(np.float32)
    corpus[1] = corpus[0]
    corpus[1, 0] *= -1  # the smallest difference there is, on sums that float32 cannot hold
    code = make_code("int8", 4000, [corpus])
    texts = code.encode(corpus).astype(np.int64)
    found = search_codes(corpus, corpus, code, 40)
    assert np.array_equal(found, by_hand(texts @ texts.T, 40))


@pytest.mark.parametrize("kind", ["int8", "binary"])
@pytest.mark.parametrize("block", [200, 10**6])
def test_rescoring_orders_by_float_queries(kind, block, monkeypatch):
    queries, corpus = unit_vectors(25, seed=1), unit_vectors()
    code = make_code(kind, 40, [corpus])
    found = search_codes(queries, corpus, code, 40)
    monkeypatch.setattr(search, "BLOCK_ELEMENTS", block)
    again = rescore(queries, corpus, code, found, 10)
    scores = np.einsum("qd,qkd->qk", queries, code.decode(code.encode(corpus))[found])
    assert np.array_equal(again, np.take_along_axis(found, np.argsort(-scores, axis=1, kind="stable")[:, :10], axis=1))


def test_rescoring_finds_more_of_what_is_near():
    queries, corpus = unit_vectors(100, dim=64, seed=1), unit_vectors(3000, dim=64)
    code = BinaryCode(64)
    wanted = by_hand(queries @ corpus.T, 10)

    def shared(found):
        return np.mean([len(set(one) & set(other)) for one, other in zip(found[:, :10], wanted, strict=True)])

    found = search_codes(queries, corpus, code, 40)
    assert shared(rescore(queries, corpus, code, found, 10)) > shared(found) + 0.5
