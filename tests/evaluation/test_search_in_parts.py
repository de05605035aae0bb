"""A search by workers finds what one process finds, in the same order, and leaves nothing behind."""

import numpy as np
import pytest
import torch

from alignkit.errors import AlignkitError
from alignkit.evaluation import search_in_parts
from alignkit.evaluation.aligning import align
from alignkit.evaluation.rankings import CPU, AlignedRows, rank_all
from alignkit.evaluation.search_in_parts import SearchInParts
from alignkit.evaluation.table_rows import RowName
from alignkit.heads.linear import LinearHead
from alignkit.pairs.unit_rows import UnitRows
from alignkit.vectors import top_k
from alignkit.workers.local import LocalEngine

ROWS = np.random.default_rng(0).standard_normal((500, 16)).astype(np.float32)


@pytest.fixture
def parted(tmp_path, monkeypatch):
    monkeypatch.setattr(search_in_parts, "LARGE", 0)
    monkeypatch.setattr(search_in_parts, "MOST_BYTES", 64 * 4 * 16)
    yield SearchInParts(LocalEngine(), tmp_path / "parts")
    assert not (tmp_path / "parts").exists()


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, UnitRows, lambda rows: rows.astype(np.float16)])
@pytest.mark.parametrize("k", [10, 90])
def test_it_finds_what_one_process_finds(parted, kind, k):
    corpus = kind(np.concatenate([ROWS, ROWS[100:300], np.zeros((3, 16), np.float32)]))  # equals in several parts
    queries, exclude = ROWS[:40], np.arange(40)
    exclude[::3] = -1
    scores, rows = parted(queries, corpus, k, exclude=exclude)
    expected = top_k(queries, corpus, k, exclude=exclude)
    np.testing.assert_array_equal(rows, expected[1])
    np.testing.assert_allclose(scores, expected[0], atol=1e-6)


def test_a_corpus_smaller_than_k_is_filled_up(parted):
    scores, rows = parted(ROWS[:2], ROWS[:5], 9, exclude=np.array([0, -1]))
    assert (rows[:, 5:] == -1).all() and rows[0, 4] == -1
    np.testing.assert_array_equal(rows, top_k(ROWS[:2], ROWS[:5], 9, exclude=np.array([0, -1]))[1])
    assert torch.isneginf(scores[:, 5:]).all()


def test_rows_go_through_the_head_at_the_workers(parted, tmp_path):
    torch.manual_seed(0)
    head = LinearHead(16, 24).eval().requires_grad_(False)
    queries = align(head, ROWS[:30])
    found = parted(queries, AlignedRows(head, ROWS, CPU), 10, exclude=np.arange(30))[1]
    np.testing.assert_array_equal(found, top_k(queries, align(head, ROWS), 10, exclude=np.arange(30))[1])


def test_what_fails_is_named(parted, monkeypatch):
    monkeypatch.setattr(search_in_parts, "pair_cosines", lambda *_: 1 / 0)
    with pytest.raises(AlignkitError, match=r"of 8 parts failed.*part 0 \(first=0, rows=64\): ZeroDivisionError"):
        parted(ROWS[:4], ROWS, 5, exclude=np.full(4, -1))


def test_the_table_is_the_same(parted, demo_set, demo_head, monkeypatch):
    monkeypatch.setattr(search_in_parts, "MOST_BYTES", 1024 * 1024)
    aligned = align(demo_head, demo_set.queries.student)
    exact = rank_all(demo_set, {RowName.ALIGNED: aligned}, demo_head)
    for name, ranking in rank_all(demo_set, {RowName.ALIGNED: aligned}, demo_head, parted).items():
        np.testing.assert_array_equal(ranking.rows, exact[name].rows)
