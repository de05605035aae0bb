"""Queries that are judged over the rows of an index."""

import uuid

import numpy as np
import pytest
from small_index import DIM, Words, index_of, vector_of

from alignkit.cache import VectorCache
from alignkit.errors import ConfigError, DataError
from alignkit.evaluation.leak_checks import leaks_of_splits
from alignkit.pairs.index import load_index
from alignkit.pairs.index_judgements import ids_as_stored
from alignkit.pairs.searched_corpus import set_of_splits

ROWS, ASKED = 200, [f"what is {row}" for row in range(40)]


@pytest.fixture(scope="module")
def models():
    return Words("student", 3), Words("teacher", DIM)


@pytest.fixture
def settings(tmp_path, models):
    """Queries 0 to 39, of which the first 35 are judged: row 2 i is relevant to query i."""
    lines = "\n".join(f'{{"_id": "{row}", "text": "{text}"}}' for row, text in enumerate(ASKED))
    (tmp_path / "queries.jsonl").write_text(lines, encoding="utf-8")
    write(tmp_path, [(row, f"doc {2 * row}", 1) for row in range(35)])
    with VectorCache(tmp_path / "cache") as cache:
        cache.fill(models[1], ASKED, "query")
    named = {name: str(tmp_path / file) for name, file in (("queries", "queries.jsonl"), ("qrels", "test.tsv"))}
    return {"cache_dir": str(tmp_path / "cache"), **named}


def write(folder, judged):
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, one)) for one in judged)]
    (folder / "test.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def index(tmp_path):
    return index_of(tmp_path / "docs.parquet", [f"text number {row}" for row in range(ROWS)])


def test_judged_queries_are_for_measuring_alone_and_the_others_are_learnt_from(index, models, settings):
    splits = load_index(index, *models, **settings)
    judged = {f"query {row}" for row in range(35)}
    assert judged <= {*splits.test.ids} and not judged & {*splits.train.ids, *splits.validation.ids}
    assert {f"query {row}" for row in range(35, 40)} <= {*splits.train.ids, *splits.validation.ids, *splits.test.ids}
    assert splits.origin.documents_for_queries is False
    assert leaks_of_splits(splits).startswith("no test text is in training")
    found = set_of_splits(splits)
    assert list(found.queries.texts) == ASKED[:35] and len(found.corpus) == ROWS and (found.itself == -1).all()
    hits = np.array([[found.corpus.texts.index(f"text number {2 * row}")] for row in range(35)])
    assert (found.judge(hits).gains == 1).all()
    relevant = np.array([vector_of(f"text number {2 * row}") for row in range(35)])
    unit = relevant / np.linalg.norm(relevant, axis=1, keepdims=True)
    np.testing.assert_allclose(found.corpus.teacher[hits[:, 0]], unit, rtol=1e-5)


def test_judged_rows_that_were_not_drawn_are_read_beside_the_sample(index, models, settings):
    splits = load_index(index, *models, **settings, sample=40)
    assert {f"doc {2 * row}" for row in range(35)} <= {*splits.corpus.ids} and len(splits.corpus) < 80
    assert f"and the {len(splits.corpus) - 40} others that are judged" in splits.origin.source
    assert (set_of_splits(splits).judge(np.zeros((35, 1), np.int64)).relevant == 1).all()


def test_a_judged_row_whose_text_another_has_too_can_be_found(models, settings, tmp_path):
    texts = [f"text number {row}" for row in range(ROWS)]
    texts[6] = texts[5]  # row 5 stands for both, and row 6 is the one that is judged
    splits = load_index(index_of(tmp_path / "docs.parquet", texts), *models, **settings)
    assert {"doc 5", "doc 6"} <= {*splits.corpus.ids}
    assert "doc 6" not in {*splits.train.ids, *splits.validation.ids, *splits.test.ids}
    assert not any("not in the index" in note for note in set_of_splits(splits).origin.notes)


def test_judgements_that_fit_nothing_are_refused_with_what_to_do(index, models, settings, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.qrels: judges queries, and none are given; .*data\.queries="):
        load_index(index, *models, **{**settings, "queries": None})
    write(tmp_path, [("q1", "doc 1", 1)])
    with pytest.raises(DataError, match=r"test.tsv: judges none of the queries of data\.queries; do the ids agree\?"):
        load_index(index, *models, **settings)
    write(tmp_path, [(1, "document-1", 1)])
    with pytest.raises(DataError, match=r"judges no row of the index, whose ids are like 'doc 0'.*index\.id="):
        load_index(index, *models, **settings)
    write(tmp_path, [(1, "doc 1", 0)])
    with pytest.raises(DataError, match="judges no row of any query relevant"):
        load_index(index, *models, **settings)
    (tmp_path / "test.tsv").write_text("1 0 doc1 1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"test.tsv: holds no judgements; expected columns query-id"):
        load_index(index, *models, **settings)


def test_names_in_a_file_become_ids_of_the_engine():
    one = uuid.uuid4()
    assert ids_as_stored(["3", "x", "03"], [1, 2]) == [3]
    assert ids_as_stored([str(one), "3"], [one]) == [one]


def test_with_judged_queries_alone_documents_stand_for_queries_where_something_is_chosen(
    index, models, settings, tmp_path
):
    write(tmp_path, [(row, f"doc {row}", 1) for row in range(40)])
    splits = load_index(index, *models, **settings)
    assert splits.origin.documents_for_queries is True
    assert "the rows' own texts serve as queries" in splits.origin.notes


def test_equal_queries_may_be_judged_otherwise_and_those_that_are_left_out_are_counted(
    models, settings, tmp_path, caplog
):
    (tmp_path / "queries.jsonl").write_text(
        "\n".join(f'{{"_id": "{row}", "text": "{text}"}}' for row, text in enumerate([*ASKED[:34], ASKED[0]])),
        encoding="utf-8",
    )
    texts = [f"text number {row}" for row in range(ROWS - 1)] + [ASKED[1].upper()]
    splits = load_index(index_of(tmp_path / "docs.parquet", texts), *models, **settings)
    assert {"query 0", "query 34"} <= {*splits.test.ids} and "query 1" not in splits.test.ids
    assert "1 of 35 judged queries are not among the queries, or are texts of the index" in caplog.text
