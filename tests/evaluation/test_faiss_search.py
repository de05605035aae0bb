"""faiss finds what the built-in search finds, ties, excluded rows and small corpora included."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from alignkit.errors import ConfigError, MissingExtraError
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.faiss_search import faiss_top_k
from alignkit.neighbours import top_k


def vectors(count, seed, mean=0.0):
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(seed)) + mean


@pytest.mark.parametrize("mean", [0.0, 4.0])
def test_finds_what_the_built_in_search_finds(mean):
    pytest.importorskip("faiss")
    queries, corpus = vectors(60, 1, mean), vectors(900, 2, mean)
    exclude = np.full(60, -1)
    for one, other in zip(faiss_top_k(queries, corpus, 20, exclude=exclude), top_k(queries, corpus, 20), strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=0, atol=1e-6)


def test_equal_rows_come_in_order_and_a_query_does_not_find_itself():
    pytest.importorskip("faiss")
    corpus = vectors(50, 3).repeat(8, 1)
    itself = np.arange(0, 400, 3)
    rows = faiss_top_k(corpus[itself], corpus, 30, exclude=itself)[1]
    np.testing.assert_array_equal(rows, top_k(corpus[itself], corpus, 30, exclude=itself)[1])
    assert not (rows == torch.from_numpy(itself)[:, None]).any()


def test_a_constant_corpus_and_one_smaller_than_k():
    pytest.importorskip("faiss")
    nowhere = np.full(5, -1)
    assert faiss_top_k(vectors(5, 1), torch.ones(300, 32), 4, exclude=nowhere)[1].tolist() == [[0, 1, 2, 3]] * 5
    rows = faiss_top_k(torch.eye(3), torch.eye(3)[:2], 4, exclude=np.array([0, -1, -1]))[1]
    assert rows.tolist() == [[1, -1, -1, -1], [1, 0, -1, -1], [0, 1, -1, -1]]


def test_an_evaluation_by_faiss_has_the_same_figures(demo_set, demo_artifact):
    pytest.importorskip("faiss")
    exact, by_faiss = (compare(demo_set, demo_artifact, search=name, resamples=50) for name in ("exact", "faiss"))
    assert exact.rows == by_faiss.rows and exact.groups == by_faiss.groups
    for name, curve in exact.recall.by_row.items():
        np.testing.assert_array_equal(curve, by_faiss.recall.by_row[name])


def test_a_missing_library_or_unknown_search_is_said(demo_set, demo_artifact, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"faiss"):
        compare(demo_set, demo_artifact, search="faiss")
    with pytest.raises(ConfigError, match="search=annoy: expected exact or faiss"):
        compare(demo_set, demo_artifact, search="annoy")
