"""What test rows of an index search: all rows that were read, as they would in the index itself."""

import dataclasses

import numpy as np
import pytest

from alignkit.pairs.base import Origin, Pairs, PairSplits
from alignkit.pairs.evaluation_set import set_of_pairs
from alignkit.pairs.searched_corpus import searching, set_of_splits

ROWS, DIM = 300, 8


def pairs_of(ids, groups=None):
    vectors = np.array([np.random.default_rng(list(name.encode())).standard_normal(DIM) for name in ids], np.float32)
    return Pairs(ids, vectors[:, :5], vectors, [f"text of {name}" for name in ids], groups=groups)


def splits_of(documents=60, queries=0, **more):
    names = [f"doc {row}" for row in range(ROWS)]
    asked = [f"query {row}" for row in range(queries)]
    kinds = ["document"] * documents + ["query"] * queries
    test = pairs_of([*names[:documents], *asked], kinds if queries else None)
    train, held_out = pairs_of(names[documents + 30 :]), pairs_of(names[documents : documents + 30])
    return PairSplits(train, held_out, test, Origin(notes=("before",)), corpus=pairs_of(names), **more)


def test_test_rows_search_all_rows_and_not_themselves():
    splits = splits_of()
    found = set_of_splits(splits)
    assert (len(found.queries), len(found.corpus)) == (60, ROWS)
    assert [found.corpus.texts[row] for row in found.itself] == list(found.queries.texts)
    np.testing.assert_allclose(found.corpus.teacher[found.itself], found.queries.teacher, rtol=1e-6)
    assert found.origin.notes == ("before", "60 test rows search all 300 rows that were read")
    assert len(set_of_pairs(splits.test, splits.origin).corpus) == 60  # what it was before


def test_without_a_corpus_test_sentences_search_each_other():
    found = set_of_splits(dataclasses.replace(splits_of(), corpus=None))
    assert found.corpus is found.queries and len(found.queries) == 60


def test_enough_real_queries_search_alone_and_are_no_rows():
    few, enough = set_of_splits(splits_of(queries=29)), set_of_splits(splits_of(queries=30))
    assert (len(few.queries), len(enough.queries)) == (89, 30)
    assert (few.itself < 0).sum() == 29 and (enough.itself == -1).all()
    assert sorted(set(few.groups)) == ["document", "query"] and enough.groups is None
    assert "30 test queries search all 300 rows" in enough.origin.notes[-1]


def test_more_test_rows_than_an_interval_needs_are_sampled(monkeypatch):
    monkeypatch.setattr("alignkit.pairs.searched_corpus.MOST_QUERIES", 20)
    assert list(searching(splits_of(), 3).ids) == list(searching(splits_of(), 3).ids)
    assert len(searching(splits_of(), 3)) == 20 and list(searching(splits_of(), 4).ids) != list(
        searching(splits_of(), 3).ids
    )


def test_judged_queries_search_alone_and_a_row_that_is_not_there_is_not_found():
    qrels = {"query 1": {"doc 7": 2, "doc 8": 0, "gone": 1}, "query 0": {"doc 250": 1}}
    found = set_of_splits(splits_of(queries=40, qrels=qrels))
    assert list(found.queries.texts) == ["text of query 0", "text of query 1"]
    judged = found.judge(np.array([[250, 7], [7, 8]]))
    assert judged.gains.tolist() == [[1, 0], [2, 0]]
    assert judged.relevant.tolist() == [1, 2]
    assert "1 of 3 rows that are judged relevant, which count as not found; the first: gone" in found.origin.notes[-1]


@pytest.mark.parametrize("seed", [0, 1])
def test_ids_that_a_query_shares_with_a_row_are_told_apart(seed):
    splits = splits_of(queries=30)
    assert not set(searching(splits, seed).ids) & set(splits.corpus.ids)
