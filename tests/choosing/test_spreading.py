"""Rows that stand for all others."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from alignkit.choosing import spreading
from alignkit.choosing.spreading import Covered, spread_rows


def heaps(sizes, width=16, seed=0):
    """Heaps around random directions, and the heap of each row."""
    rng = np.random.default_rng(seed)
    middles = rng.normal(size=(len(sizes), width)) * 4
    of = np.repeat(np.arange(len(sizes)), sizes)
    return (middles[of] + rng.normal(size=(len(of), width)) * 0.3).astype(np.float32), of


def test_one_of_each_heap_whatever_its_size():
    vectors, of = heaps([400, 5, 100, 30])
    assert sorted(of[spread_rows(vectors, np.ones(len(vectors)), 4)].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("most_products", [10**11, 0])
def test_it_leaves_rows_nearer_to_a_chosen_one_than_a_random_draw(monkeypatch, most_products):
    monkeypatch.setattr(spreading, "MOST_PRODUCTS", most_products)
    vectors = heaps([40] * 30)[0]
    unit = vectors - vectors.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)

    def left(rows):
        return cdist(unit, unit[rows], "sqeuclidean").min(axis=1).mean()

    chosen = spread_rows(vectors, np.ones(len(vectors)), 60)
    assert len(chosen) == 60 == len(set(chosen.tolist())) and (np.diff(chosen) > 0).all()
    drawn = [left(np.random.default_rng(seed).permutation(len(vectors))[:60]) for seed in range(5)]
    assert left(chosen) < 0.7 * min(drawn)


def test_what_comes_often_gets_more():
    vectors, of = heaps([200, 200])
    usual = (of[spread_rows(vectors, np.ones(400), 40)] == 0).sum()
    often = (of[spread_rows(vectors, np.where(of == 0, 50.0, 1.0), 40)] == 0).sum()
    assert often > usual + 8


def test_where_there_is_enough_already_nothing_is_added():
    vectors, of = heaps([200, 200, 200, 200])
    known = np.flatnonzero(of < 2)[::2]
    chosen = spread_rows(vectors, np.ones(800), 30, covered=[Covered(vectors[known])])
    assert 25 <= len(chosen) <= 30 and (of[chosen] >= 2).all()
    few = spread_rows(vectors, np.ones(800), 30, covered=[Covered(vectors[known[::20]], each=20)])
    assert (of[few] >= 2).all()


def test_rows_that_are_the_same_and_budgets_over_all():
    same = np.ones((50, 4), dtype=np.float32)
    assert len(spread_rows(same, np.ones(50), 7)) >= 1
    assert spread_rows(same, np.ones(50), 50).tolist() == list(range(50))
    assert len(spread_rows(np.zeros((9, 4), dtype=np.float32), np.ones(9), 2)) >= 1
    assert spread_rows(same[:0], np.ones(0), 3).tolist() == []


def test_the_same_seed_chooses_the_same():
    vectors = heaps([60] * 10)[0]
    first, again, other = (spread_rows(vectors, np.ones(600), 50, seed=seed).tolist() for seed in (0, 0, 1))
    assert first == again != other
