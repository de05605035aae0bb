from __future__ import annotations

import numpy as np
import pytest
from small_index import DIM, Words, index_of, vector_of

from alignkit.cache import VectorCache
from alignkit.errors import ConfigError, DataError
from alignkit.indexes.parquet import ParquetIndex
from alignkit.pairs.base import MissingVectorsError
from alignkit.pairs.embedded import with_student
from alignkit.pairs.index import load_index
from alignkit.pairs.searched_corpus import set_of_splits


@pytest.fixture
def models():
    return Words("student", 3), Words("teacher", DIM)


@pytest.fixture
def index(tmp_path):
    return index_of(tmp_path / "docs.parquet", [f"text number {row}" for row in range(200)])


def all_of(splits, field):
    return [one for part in splits.parts for one in getattr(part, field)]


def test_every_row_is_a_text_with_the_teachers_vector(index, models, tmp_path):
    splits = load_index(index, *models, cache_dir=str(tmp_path / "cache"))
    assert sorted(all_of(splits, "ids")) == sorted(f"doc {row}" for row in range(200))
    for part in splits.parts:
        assert len(part) >= 20
        np.testing.assert_array_equal(part.teacher, [vector_of(text) for text in part.texts])
        np.testing.assert_allclose(part.student, [vector_of(text)[:3] for text in part.texts], rtol=1e-3)
    assert models[1].asked == []
    assert splits.origin.student_identity["model"] == "student"
    assert splits.origin.documents_for_queries is True
    assert splits.origin.teacher_identity is None  # bare vectors do not tell whose they are
    assert "all rows" in splits.origin.source


def test_the_student_is_asked_once(index, models, tmp_path):
    for _ in range(2):
        load_index(index, *models, cache_dir=str(tmp_path / "cache"))
    assert len(models[0].asked) == 200


def test_a_sample_comes_from_all_over_the_index_by_its_seed(index, models, tmp_path):
    def rows(seed):
        splits = load_index(index, *models, cache_dir=str(tmp_path / "cache"), sample=40, seed=seed)
        assert "a sample of 40 of its 200 rows" in splits.origin.source
        return sorted(int(name.split()[1]) for name in all_of(splits, "ids"))

    assert rows(3) == rows(3) != rows(4)
    assert [row // 5 for row in rows(3)] == list(range(40))
    assert len(models[0].asked) < 200  # no more is embedded than is drawn


def test_equal_texts_are_one_pair_or_in_one_split(models, tmp_path):
    texts = [f"text number {row}" for row in range(60)]
    index = index_of(tmp_path / "docs.parquet", [*texts, *texts[:20], *(text.upper() for text in texts)])
    splits = load_index(index, *models, cache_dir=str(tmp_path / "cache"))
    assert splits.origin.repetitions == 20
    sides = [{text.lower() for text in part.texts} for part in splits.parts]
    assert sum(map(len, sides)) == len(set.union(*sides)) == 60
    assert len(all_of(splits, "ids")) == 120


def test_rows_that_cannot_be_used_are_left_out_and_named(models, tmp_path, caplog):
    texts = [f"text number {row}" for row in range(60)]
    vectors = [vector_of(text) for text in texts]
    vectors[7], vectors[9], vectors[11] = None, [np.nan] * DIM, [1.0]
    texts[20], texts[21] = None, "  "
    index = index_of(tmp_path / "docs.parquet", texts, vectors)
    splits = load_index(index, *models, cache_dir=str(tmp_path / "cache"))
    assert sorted(set(range(60)) - {int(name.split()[1]) for name in all_of(splits, "ids")}) == [7, 9, 11, 20, 21]
    assert "3 of 60 rows have no usable vector and are left out; the first: doc 7 (it has no vector)" in caplog.text
    assert "2 of 60 rows have no text and are left out; the first: doc 20" in caplog.text
    assert splits.origin.repetitions == 0
    assert len(splits.origin.notes) == 3


def test_long_texts_are_cut_as_the_student_cuts_them_and_counted(models, tmp_path):
    long = " ".join(map(str, range(30)))
    index = index_of(tmp_path / "docs.parquet", [*(f"text number {row}" for row in range(40)), long])
    splits = load_index(index, *models, cache_dir=str(tmp_path / "cache"))
    assert splits.origin.cut["student"].sentences == 1


def test_real_queries_are_pairs_too(index, models, tmp_path):
    queries = [f"what is {row}" for row in range(30)]
    (tmp_path / "queries.txt").write_text("\n".join([*queries, "text number 3", ""]), encoding="utf-8")
    settings = {"cache_dir": str(tmp_path / "cache"), "queries": str(tmp_path / "queries.txt")}
    with pytest.raises(MissingVectorsError, match="30 of 30 sentences have no teacher vector"):
        load_index(index, *models, **settings)
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(models[1], queries, "query")
    splits = load_index(index, *models, **settings)
    assert sorted(all_of(splits, "groups")) == ["document"] * 200 + ["query"] * 30
    assert splits.origin.documents_for_queries is False
    assert splits.origin.teacher_identity == models[1].identity("query")
    assert "30 queries of queries.txt" in splits.origin.source


def test_queries_of_another_model_are_refused(index, tmp_path):
    student, teacher = Words("student", 3), Words("teacher", DIM + 1)
    (tmp_path / "queries.txt").write_text("one\ntwo", encoding="utf-8")
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(teacher, ["one", "two"], "query")
    with pytest.raises(DataError, match="holds 5-d vectors, the teacher's of .*queries.txt are 6-d.*teacher="):
        load_index(index, student, teacher, cache_dir=str(tmp_path / "cache"), queries=str(tmp_path / "queries.txt"))


def test_what_cannot_be_learnt_from_is_refused_with_what_to_type(models, tmp_path):
    cache = {"cache_dir": str(tmp_path / "cache")}
    with pytest.raises(ConfigError, match="index=parquet index.path="):
        load_index(None, *models, **cache)
    few = index_of(tmp_path / "few.parquet", ["one", "two", *["three"] * 40])
    with pytest.raises(DataError, match="few.parquet, column embedding: 3 different texts with a usable vector"):
        load_index(few, *models, **cache)
    with pytest.raises(DataError, match="name their column: index.text="):
        load_index(ParquetIndex(str(tmp_path / "few.parquet")), *models, **cache)
    with pytest.raises(ConfigError, match="sample=0: expected a whole number"):
        load_index(few, *models, **cache, sample=0)


def test_without_a_student_there_is_the_teachers_side(index, models, tmp_path):
    splits = load_index(index, None, models[1], cache_dir=str(tmp_path / "cache"))
    assert splits.train.student_dim == 0
    assert splits.train.teacher_dim == DIM


@pytest.fixture
def long_index(tmp_path):
    texts = [f"the title of document {row}. Its body says more about {row}." for row in range(100)]
    return index_of(tmp_path / "docs.parquet", texts)


def test_openings_of_the_fitted_documents_are_pairs_with_their_documents_vectors(long_index, models, tmp_path):
    splits = load_index(long_index, *models, cache_dir=str(tmp_path / "cache"))
    whole = {text: row for row, text in enumerate(splits.train.texts) if "body" in text}
    begun = [row for row, text in enumerate(splits.train.texts) if "body" not in text]
    assert len(whole) == len(begun) == 70
    for row in begun:
        text = splits.train.texts[row]
        of = next(at for document, at in whole.items() if document.startswith(text))
        np.testing.assert_array_equal(splits.train.teacher[row], splits.train.teacher[of])
        np.testing.assert_allclose(splits.train.student[row], vector_of(text)[:3], rtol=1e-3)
    assert set(splits.train.weights[begun]) == {0.2}
    assert set(splits.train.weights[list(whole.values())]) == {1.0}
    # nothing is chosen or measured on openings, and no held-out document's is fitted on
    assert all("body" in text for part in (splits.validation, splits.test) for text in part.texts)
    assert "the openings of 70 rows" in " ".join(splits.origin.notes)


def test_openings_that_only_the_student_could_embed_are_left_out_where_it_may_not_be_asked(
    long_index, models, tmp_path
):
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(models[0], [f"the title of document {row}. Its body says more about {row}." for row in range(100)])
    splits = load_index(long_index, *models, cache_dir=str(tmp_path / "cache"), student_live=False)
    assert len(splits.train) == 70
    assert splits.train.weights is None


def test_the_teachers_side_alone_has_no_openings(long_index, models, tmp_path):
    assert len(load_index(long_index, None, models[1], cache_dir=str(tmp_path / "cache")).train) == 70


def test_what_is_measured_searches_all_rows_that_were_read(long_index, models, tmp_path):
    splits = load_index(long_index, *models, cache_dir=str(tmp_path / "cache"))
    assert sorted(splits.corpus.ids) == sorted(f"doc {row}" for row in range(100))  # no openings
    found = set_of_splits(splits)
    assert (len(found.queries), len(found.corpus)) == (20, 100)
    assert [found.corpus.texts[row] for row in found.itself] == list(splits.test.texts)


@pytest.mark.parametrize(("rows", "expected"), [(100, 20), (1_200, 200), (3_000, 300)])
def test_a_small_index_gives_enough_queries_for_an_interval(models, tmp_path, rows, expected):
    index = index_of(tmp_path / "docs.parquet", [f"text number {row}" for row in range(rows)])
    assert len(load_index(index, *models, cache_dir=str(tmp_path / "cache")).test) == expected
    assert len(load_index(index, *models, cache_dir=str(tmp_path / "cache"), test=0.05).test) == rows * 0.05


def test_the_corpus_is_of_the_student_that_embeds_it_later(long_index, models, tmp_path):
    splits = load_index(long_index, None, models[1], cache_dir=str(tmp_path / "cache"))
    models[0].asked.clear()
    with_own = with_student(splits, models[0])
    np.testing.assert_array_equal(with_own.corpus.student, [vector_of(text)[:3] for text in with_own.corpus.texts])
    assert len(with_own.corpus) == len(models[0].asked) == 100
