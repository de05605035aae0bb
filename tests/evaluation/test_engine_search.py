"""What a head finds through an engine's own search; the engine is a real one that loses something."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.evaluation.engine_search import search_engine
from alignkit.heads.linear import LinearHead
from alignkit.indexes.faiss import FaissIndex
from alignkit.indexes.parquet import ParquetIndex
from alignkit.pairs.base import Pairs

ROWS, DIM = 600, 16


@pytest.fixture
def vectors():
    return np.random.default_rng(0).standard_normal((ROWS, DIM)).astype(np.float32)


def as_it_is():
    head = LinearHead(DIM, DIM).requires_grad_(False)
    head.projection.weight.copy_(torch.eye(DIM))
    head.projection.bias.zero_()
    return Artifact({"query_head": head.eval()})


def pairs_of(vectors, noise):
    rows = range(0, ROWS, 7)
    student = vectors[rows] + noise * np.random.default_rng(1).standard_normal((len(rows), DIM)).astype(np.float32)
    return Pairs([str(row) for row in rows], student, vectors[rows])


def test_an_engine_that_loses_rows_is_told_from_a_head_that_does(vectors, tmp_path):
    faiss = pytest.importorskip("faiss")
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, 20)  # looks into one of 20 cells
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    index.train(unit)
    index.add(unit)
    faiss.write_index(index, str(tmp_path / "lossy.faiss"))
    with FaissIndex(str(tmp_path / "lossy.faiss")) as opened:
        perfect = search_engine(opened, pairs_of(unit, 0.0), as_it_is())
        noisy = search_engine(opened, pairs_of(unit, 0.25), as_it_is())
    near, far = perfect.nearest, noisy.nearest
    assert near.head_exact == near.teacher_exact == 1 and near.head == near.teacher < 0.8
    assert far.head < far.head_exact < 1 and far.teacher == near.teacher
    assert f"{far.head:.1%} of the teacher's 10 nearest rows through the engine's own search" in noisy.words()[0]
    assert noisy.ndcg is None and len(noisy.words()) == 1


def test_an_exact_engine_loses_nothing_and_no_text_finds_itself(vectors, tmp_path):
    pq.write_table(pa.table({"embedding": pa.array(list(vectors), pa.list_(pa.float32()))}), tmp_path / "docs.parquet")
    with ParquetIndex(str(tmp_path / "docs.parquet")) as index:
        found = search_engine(index, pairs_of(vectors, 0.5), as_it_is()).nearest
    assert found.teacher == 1 and found.head == found.head_exact
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = pairs_of(vectors, 0.5)
    own = np.array([int(name) for name in queries.ids])

    def nearest(asked):
        scores = asked @ unit.T
        scores[np.arange(len(own)), own] = -np.inf
        return np.argsort(-scores, axis=1)[:, :10]

    both = zip(nearest(queries.student), nearest(unit[own]), strict=True)
    assert found.head == pytest.approx(np.mean([len(set(mine) & set(right)) / 10 for mine, right in both]))


def test_judged_queries_have_their_figure_through_the_engine_and_beside_it(vectors, tmp_path):
    faiss = pytest.importorskip("faiss")
    pytrec_eval = pytest.importorskip("pytrec_eval")
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, 20, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "lossy.faiss"))
    rng = np.random.default_rng(2)
    asked = rng.standard_normal((40, DIM)).astype(np.float32)
    asked /= np.linalg.norm(asked, axis=1, keepdims=True)
    queries = Pairs([f"query {row}" for row in range(40)], asked, asked + 0.1 * rng.standard_normal((40, DIM)))
    near = np.argsort(-queries.teacher @ vectors.T, axis=1)[:, :6]
    qrels = {
        name: {**{str(row): grade for row, grade in zip(rows, (3, 2, 2, 1, 0, 1), strict=True)}, "not there": 1}
        for name, rows in zip(queries.ids, near, strict=True)
    }
    with FaissIndex(str(tmp_path / "lossy.faiss")) as opened:
        found = search_engine(opened, queries, as_it_is(), qrels)
        hits = {True: opened.search(asked, 10)[0], False: np.argsort(-asked @ vectors.T, axis=1)[:, :10].tolist()}
    judge = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"})
    for through_engine, figure in ((True, found.ndcg.head), (False, found.ndcg.head_exact)):
        runs = {
            name: {str(row): float(10 - rank) for rank, row in enumerate(rows)}
            for name, rows in zip(queries.ids, hits[through_engine], strict=True)
        }
        expected = np.mean([one["ndcg_cut_10"] for one in judge.evaluate(runs).values()])
        assert figure == pytest.approx(expected, abs=1e-6)
    assert found.ndcg.head < found.ndcg.head_exact < 1 and found.ndcg.teacher < found.ndcg.teacher_exact
    assert f"{found.ndcg.head:.3f} and {found.ndcg.teacher:.3f} (" in found.words()[1]


def test_judgements_of_other_rows_are_suspected(vectors, tmp_path):
    pq.write_table(pa.table({"embedding": pa.array(list(vectors), pa.list_(pa.float32()))}), tmp_path / "docs.parquet")
    queries = pairs_of(vectors, 0.1)
    away, right = ({name: {str((int(name) + off) % ROWS): 1} for name in queries.ids} for off in (1, 0))
    named = Pairs([f"query {name}" for name in queries.ids], queries.student, queries.teacher)
    with ParquetIndex(str(tmp_path / "docs.parquet")) as index:
        wrong, fine = (
            search_engine(index, named, as_it_is(), {f"query {name}": judged for name, judged in qrels.items()})
            for qrels in (away, right)
        )
    assert "do the judged ids name these rows? index.id=" in wrong.words()[-1]
    assert fine.ndcg.teacher_exact == 1 and len(fine.words()) == 2


def test_an_index_by_distance_gets_queries_as_long_as_its_rows(vectors, tmp_path):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths = np.random.default_rng(2).uniform(9, 11, size=(ROWS, 1)).astype(np.float32)
    rows = pa.array(list(unit * lengths), pa.list_(pa.float32()))
    pq.write_table(pa.table({"embedding": rows}), tmp_path / "docs.parquet")
    with ParquetIndex(str(tmp_path / "docs.parquet"), metric="l2") as index:
        queries = pairs_of(unit * lengths, 0.0)
        # the head gives the direction alone
        found = search_engine(index, Pairs(queries.ids, unit[::7], queries.teacher), as_it_is())
    assert found.nearest.head > 0.8
    assert "ranks by distance, and its vectors have lengths from 9" in found.words()[-1]
