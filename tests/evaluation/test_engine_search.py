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
    index.train(vectors)
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "lossy.faiss"))
    with FaissIndex(str(tmp_path / "lossy.faiss")) as opened:
        perfect = search_engine(opened, pairs_of(vectors, 0.0), as_it_is())
        noisy = search_engine(opened, pairs_of(vectors, 1.0), as_it_is())
    assert perfect.head_exact == 1 and perfect.head == perfect.teacher < 0.8
    assert noisy.head < noisy.head_exact < 1 and noisy.teacher == perfect.teacher
    assert f"{noisy.head:.1%} of the teacher's 10 nearest rows through the engine's own search" in noisy.words()


def test_an_exact_engine_loses_nothing_and_no_text_finds_itself(vectors, tmp_path):
    pq.write_table(pa.table({"embedding": pa.array(list(vectors), pa.list_(pa.float32()))}), tmp_path / "docs.parquet")
    with ParquetIndex(str(tmp_path / "docs.parquet")) as index:
        found = search_engine(index, pairs_of(vectors, 0.5), as_it_is())
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
