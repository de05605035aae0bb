"""Overlap by hand, and the same in an engine as in an array."""

import numpy as np
import pytest

from alignkit.errors import DataError
from alignkit.watching.searched import Figures, SearchedEngine, SearchedVectors, figures_of


def unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def corpus():
    return unit(200, 8)


@pytest.fixture(scope="module")
def queries():
    teacher = unit(30, 8, seed=1)
    aligned = teacher + 0.3 * unit(30, 8, seed=2)
    return aligned / np.linalg.norm(aligned, axis=1, keepdims=True), teacher


def by_hand(corpus, aligned, teacher):
    def nearest(vector):
        return set(np.argsort(-(corpus @ vector))[:10].tolist())

    return [len(nearest(one) & nearest(other)) / 10 for one, other in zip(aligned, teacher, strict=True)]


def test_overlap_and_cosine_by_hand(corpus, queries):
    figures = figures_of(SearchedVectors("here", corpus, 8), *queries)
    assert figures.overlap.tolist() == by_hand(corpus, *queries)
    np.testing.assert_allclose(figures.cosine, (queries[0] * queries[1]).sum(axis=1), rtol=1e-6)


def test_whitened_queries_search_and_plain_ones_are_near_the_teacher(corpus, queries):
    aligned, teacher = queries
    plain = unit(30, 8, seed=3)
    figures = figures_of(SearchedVectors("here", corpus, 8), aligned, teacher, plain)
    assert figures.overlap.tolist() == by_hand(corpus, aligned, teacher)
    np.testing.assert_allclose(figures.cosine, (plain * teacher).sum(axis=1), rtol=1e-6)


def test_a_text_that_is_in_the_index_is_not_counted(corpus, queries):
    """Queries that stand in the index would find themselves, and flatter the head by a tenth."""
    aligned, teacher = queries
    figures = figures_of(SearchedVectors("here", np.concatenate([corpus, teacher]), 8), aligned, teacher)
    others = [np.concatenate([corpus, np.delete(teacher, row, axis=0)]) for row in range(len(teacher))]
    expected = [by_hand(of_row, aligned[[row]], teacher[[row]])[0] for row, of_row in enumerate(others)]
    assert figures.overlap.tolist() == expected


def test_an_index_of_one_text_and_one_of_few(queries):
    aligned, teacher = queries
    assert figures_of(SearchedVectors("one", teacher[[0]], 8), aligned, teacher).overlap.tolist() == [1.0] * 30
    assert figures_of(SearchedVectors("few", unit(5, 8), 8), aligned, teacher).overlap.tolist() == [1.0] * 30


@pytest.mark.parametrize("metric", ["dot", "l2"])
def test_an_engine_finds_the_same(corpus, queries, tmp_path, metric):
    faiss = pytest.importorskip("faiss")
    from alignkit.indexes.faiss import FaissIndex

    built = faiss.IndexFlatL2(8) if metric == "l2" else faiss.IndexFlatIP(8)
    built.add(corpus)
    faiss.write_index(built, str(tmp_path / "index.faiss"))
    with FaissIndex(tmp_path / "index.faiss") as index:
        figures = figures_of(SearchedEngine(index, 8), *queries)
        assert figures.overlap.tolist() == by_hand(corpus, *queries)
        with pytest.raises(DataError, match="holds 8-d vectors, the head gives 384-d"):
            SearchedEngine(index, 384)


def test_an_index_made_by_another_teacher_is_refused(tmp_path):
    np.save(tmp_path / "index.npy", unit(20, 8))
    with pytest.raises(DataError, match="holds 8-d vectors, the head gives 384-d"):
        SearchedVectors.of_file(tmp_path / "index.npy", 384)


def test_queries_are_ranked_by_overlap_and_then_by_cosine():
    figures = Figures(np.array([0.3, 0.4, 0.4]), np.array([1.0, -1.0, -0.9]))
    assert np.argsort(figures.scores()).tolist() == [0, 1, 2]


def test_a_dot_product_of_a_long_vector_is_no_copy_of_the_query(corpus, queries, tmp_path):
    """An index of vectors that are not of length 1, searched by dot product: only a cosine of 1 is the text itself."""
    faiss = pytest.importorskip("faiss")
    from alignkit.indexes.faiss import FaissIndex

    aligned, teacher = queries
    built = faiss.IndexFlatIP(8)
    built.add(np.concatenate([corpus * 1.2, teacher * 1.2]))
    faiss.write_index(built, str(tmp_path / "index.faiss"))
    with FaissIndex(tmp_path / "index.faiss") as index:
        found = figures_of(SearchedEngine(index, 8), aligned, teacher)
    array = figures_of(SearchedVectors("here", np.concatenate([corpus, teacher]), 8), aligned, teacher)
    assert found.overlap.tolist() == array.overlap.tolist()


@pytest.mark.parametrize("engine", ["parquet", "qdrant"])
def test_engines_that_lose_nothing_find_what_an_array_finds(engine, queries, tmp_path, request):
    pytest.importorskip({"parquet": "pyarrow", "qdrant": "qdrant_client"}[engine])
    from engines import stored

    made = stored(engine, tmp_path, request)
    aligned, teacher = (vectors.copy() for vectors in queries)
    teacher[:3] = made.vectors[:3]  # texts that are in the index
    with made.open() as index:
        found = figures_of(SearchedEngine(index, 8), aligned, teacher)
    assert (
        found.overlap.tolist() == figures_of(SearchedVectors("x", made.vectors, 8), aligned, teacher).overlap.tolist()
    )
