"""Retrieval metrics against trec_eval itself on two classical collections, and by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from alignkit.errors import DataError
from alignkit.metrics.retrieval import (
    Judged,
    Qrels,
    judge_by_label,
    ndcg_at_k,
    ranking_overlap,
    recall_at_k,
    reciprocal_rank,
)
from alignkit.vectors import top_k

SHARED = Path(__file__).parents[2] / "../shared/data"


def read_collection(folder):
    if not folder.is_dir():
        pytest.skip("the shared data folder is not here")
    ids = {}
    for name in ("corpus", "queries"):
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        ids[name] = [json.loads(line)["_id"] for line in lines]
    with (folder / "qrels/test.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    queries = [ids["queries"].index(row["query-id"]) for row in rows]
    documents = [ids["corpus"].index(row["corpus-id"]) for row in rows]
    return queries, documents, [int(row["score"]) for row in rows], (len(ids["queries"]), len(ids["corpus"]))


def trec_figures(found, queries, documents, grades, measures):
    """trec_eval sorts by score and then by name, so it is given the ranking as strictly falling scores below zero."""
    qrels: dict[str, dict[str, int]] = {}
    for query, document, grade in zip(queries, documents, grades, strict=True):
        qrels.setdefault(f"q{query}", {})[f"d{document}"] = grade
    run = {
        f"q{query}": {f"d{row}": -float(rank + 1) for rank, row in enumerate(rows) if row >= 0}
        for query, rows in enumerate(found)
    }
    return pytrec_eval.RelevanceEvaluator(qrels, measures).evaluate(run)


@pytest.mark.parametrize("name", ["ir_cranfield", "ir_adi"])
def test_agrees_with_trec_eval(name):
    queries, documents, grades, shape = read_collection(SHARED / name)
    generator = np.random.default_rng(0)
    # vectors that know something of the judgements, so that hits stand at all ranks; half of the corpus in tied pairs
    corpus = generator.normal(size=(shape[1], 32))
    corpus[1::2] = corpus[0 : shape[1] - shape[1] % 2 : 2] if shape[1] % 2 == 0 else corpus[0:-1:2]
    vectors = generator.normal(size=(shape[0], 32)) * 1.5 - 1.0
    for query, document in zip(queries, documents, strict=True):
        vectors[query] += corpus[document]
    # to the last row, so that negative scores are ranked too
    scores, found = (part.numpy() for part in top_k(vectors, corpus, shape[1]))
    assert (scores < 0).any()
    assert (scores[:, 1:] == scores[:, :-1]).any()
    judged = Qrels.of(queries, documents, grades, shape).judge(found)
    measures = {"recall.1,5,10,100", "ndcg_cut.1,5,10,100", "recip_rank"}
    expected = trec_figures(found, queries, documents, grades, measures)
    for query in range(shape[0]):
        for k in (1, 5, 10, 100):
            assert recall_at_k(judged, k)[query] == pytest.approx(expected[f"q{query}"][f"recall_{k}"], abs=1e-6)
            assert ndcg_at_k(judged, k)[query] == pytest.approx(expected[f"q{query}"][f"ndcg_cut_{k}"], abs=1e-6)
        assert reciprocal_rank(judged)[query] == pytest.approx(expected[f"q{query}"]["recip_rank"], abs=1e-6)


def test_agrees_with_trec_eval_where_all_scores_are_negative_and_half_are_tied():
    # equal scores: ours come in order of the corpus row, trec_eval's in falling order of the name, so names fall too
    generator = np.random.default_rng(3)
    scores = -generator.integers(1, 6, size=(40, 30)) / 7.0
    found = np.lexsort((np.broadcast_to(np.arange(30), scores.shape), -scores), axis=1)
    grades = generator.integers(-1, 4, size=(40, 30))
    judged = Qrels.of(*np.nonzero(np.ones((40, 30))), grades.ravel(), (40, 30)).judge(found)
    names = [f"{99 - row:02d}" for row in range(30)]
    qrels = {str(q): {names[r]: int(grades[q, r]) for r in range(30)} for q in range(40)}
    run = {str(q): {names[r]: float(scores[q, r]) for r in range(30)} for q in range(40)}
    expected = pytrec_eval.RelevanceEvaluator(qrels, {"recall.5", "ndcg_cut.10", "recip_rank"}).evaluate(run)
    for query in range(40):
        assert recall_at_k(judged, 5)[query] == pytest.approx(expected[str(query)]["recall_5"], abs=1e-6)
        assert ndcg_at_k(judged, 10)[query] == pytest.approx(expected[str(query)]["ndcg_cut_10"], abs=1e-6)
        assert reciprocal_rank(judged)[query] == pytest.approx(expected[str(query)]["recip_rank"], abs=1e-6)


def test_by_hand():
    judged = Qrels.of([0, 0, 1], [4, 2, 0], [1, 3, 2], shape=(3, 5)).judge(np.array([[1, 2, 4], [3, 2, 1], [0, 1, 2]]))
    np.testing.assert_array_equal(judged.gains, [[0, 3, 1], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(judged.ideal, [[3, 1, 0], [2, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(recall_at_k(judged, 2), [0.5, 0, np.nan])
    np.testing.assert_allclose(reciprocal_rank(judged), [0.5, 0, np.nan])
    np.testing.assert_allclose(reciprocal_rank(judged, 1), [0, 0, np.nan])
    ideal = 3 + 1 / np.log2(3)
    np.testing.assert_allclose(ndcg_at_k(judged, 3), [(3 / np.log2(3) + 1 / 2) / ideal, 0, np.nan])


def test_a_query_without_relevant_rows_is_undefined_not_zero():
    judged = Judged(np.zeros((1, 3)), np.zeros((1, 3)), np.zeros(1, dtype=np.int64))
    assert all(
        np.isnan(figures[0]) for figures in (recall_at_k(judged, 3), reciprocal_rank(judged), ndcg_at_k(judged, 3))
    )


def test_padding_and_depth_beyond_the_ranking_count_as_misses():
    judged = Qrels.of([0, 0], [0, 1], [1, 1], shape=(1, 2)).judge(np.array([[1, -1, -1]]))
    assert recall_at_k(judged, 10)[0] == 0.5
    assert ndcg_at_k(judged, 10)[0] == pytest.approx(1 / (1 + 1 / np.log2(3)))


def test_grades_of_zero_and_below_are_not_relevant():
    judged = Qrels.of([0, 0, 0], [0, 1, 2], [0, -2, 1], shape=(1, 3)).judge(np.array([[0, 1, 2]]))
    assert judged.relevant[0] == 1
    assert reciprocal_rank(judged)[0] == pytest.approx(1 / 3)


def test_refuses_a_pair_that_is_judged_twice_and_positions_outside():
    with pytest.raises(DataError, match="query 0 and corpus row 2 are judged twice"):
        Qrels.of([0, 0], [2, 2], [1, 0], shape=(1, 3))
    with pytest.raises(DataError, match="the qrels name a corpus row outside 0 to 2"):
        Qrels.of([0], [3], [1], shape=(1, 3))


def test_no_judgements_at_all():
    assert np.isnan(ndcg_at_k(Qrels.of([], [], [], shape=(2, 3)).judge(np.array([[0], [1]])), 10)).all()


def test_labels_are_qrels_of_equal_labels():
    generator = np.random.default_rng(1)
    labels = [f"l{code}" for code in generator.integers(0, 5, 60)]
    found = np.stack([generator.permutation(60)[:20] for _ in range(60)])
    itself = np.arange(60)
    found[found == itself[:, None]] = -1
    by_label = judge_by_label(found, labels, labels, exclude=itself)
    pairs = [(q, r) for q in range(60) for r in range(60) if q != r and labels[q] == labels[r]]
    by_qrels = Qrels.of(*zip(*pairs, strict=True), [1] * len(pairs), (60, 60)).judge(found)
    for one, other in zip(vars(by_label).values(), vars(by_qrels).values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_overlap_by_hand_and_against_sets():
    generator = np.random.default_rng(2)
    found, teacher_found = (np.stack([generator.permutation(30)[:12] for _ in range(50)]) for _ in range(2))
    expected = [len(set(a[:10]) & set(b[:10])) / 10 for a, b in zip(found, teacher_found, strict=True)]
    np.testing.assert_allclose(ranking_overlap(found, teacher_found, 10), expected)
    np.testing.assert_allclose(ranking_overlap(np.array([[3, -1]]), np.array([[3, -1]]), 2), [1.0])
    assert np.isnan(ranking_overlap(np.array([[1]]), np.array([[-1]]), 1)[0])
