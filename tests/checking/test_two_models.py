"""Two models' vectors in one index: real texts, the vectors of two real models of one width."""

import numpy as np
import pytest

from alignkit.checking.stretches import subspace
from alignkit.checking.two_models import changed_at, parted_by_texts
from alignkit.pairs.demo import load_demo

ROWS = 1200


@pytest.fixture(scope="module")
def pair():
    """Shuffled texts with the vectors of both models."""
    train = load_demo("two_layer", validation=0.1, seed=0).train
    rows = np.random.default_rng(0).permutation(len(train.texts))[:ROWS]
    return [train.texts[row] for row in rows], np.float32(train.teacher[rows]), np.float32(train.student[rows])


@pytest.mark.parametrize(("model", "is_sorted"), [(0, False), (0, True), (1, True)])
def test_one_model_is_no_alarm_in_any_order(pair, model, is_sorted):
    texts, vectors = pair[0], pair[1 + model]
    strongest = subspace(vectors - vectors.mean(axis=0))[:, -1]
    order = np.argsort(vectors @ strongest) if is_sorted else np.arange(ROWS)
    found, pairs = parted_by_texts(vectors[order], [texts[row] for row in order])
    assert found is None and pairs > 1000
    assert changed_at(vectors[order]) is None


@pytest.mark.parametrize("model", [0, 1])
def test_rows_sorted_by_topic_are_no_alarm(model):
    train = load_demo("two_layer", validation=0.1, seed=0).train
    rows = np.argsort(np.array(train.labels), kind="stable")
    vectors = np.float32((train.teacher, train.student)[model][rows[:ROWS]])
    assert parted_by_texts(vectors, [train.texts[row] for row in rows[:ROWS]])[0] is None
    # of few rows such an order looks like two models
    for start in range(0, len(rows) - 300, 300):
        some = rows[start : start + 300]
        texts = [train.texts[row] for row in some]
        assert parted_by_texts(np.float32((train.teacher, train.student)[model][some]), texts) == (None, 0)


@pytest.mark.parametrize(("first", "last"), [(700, 1199), (0, 400), (300, 599)])
def test_a_stretch_of_another_models_rows_is_named(pair, first, last):
    texts, teacher, student = pair
    mixed = teacher.copy()
    mixed[first : last + 1] = student[first : last + 1]
    found, _ = parted_by_texts(mixed, texts)
    assert np.abs(np.subtract(found.stretch, (first, last))).max() <= 1
    assert found.likeness < 0.48


def test_scattered_rows_of_another_model_are_found(pair):
    texts, teacher, student = pair
    others = np.random.default_rng(1).random(ROWS) < 0.3
    found, _ = parted_by_texts(np.where(others[:, None], student, teacher), texts)
    assert found.stretch is None
    assert (found.other == others).mean() > 0.95


def test_a_short_tail_of_an_unrelated_models_rows_is_found(pair):
    texts, teacher, _ = pair
    found, _ = parted_by_texts(np.r_[teacher[:1100], teacher[1100:, ::-1]], texts)
    assert np.abs(np.subtract(found.stretch, (1100, ROWS - 1))).max() <= 1


def test_a_swap_to_an_unrelated_model_shows_without_texts(pair):
    _, teacher, _ = pair
    found = changed_at(np.r_[teacher[:700], teacher[700:, ::-1]])
    assert np.abs(np.subtract(found.stretch, (700, ROWS - 1))).max() <= 1


def test_the_scale_of_vectors_does_not_matter(pair):
    texts, teacher, student = pair
    found, _ = parted_by_texts(np.r_[teacher[:700] * np.float32(1e30), student[700:] * np.float32(1e-30)], texts)
    assert np.abs(np.subtract(found.stretch, (700, ROWS - 1))).max() <= 1


def test_wide_vectors_are_looked_at_too(pair, monkeypatch):
    monkeypatch.setattr("alignkit.checking.stretches._WIDEST", 256)
    texts, teacher, student = pair
    found, _ = parted_by_texts(np.r_[teacher[:700], student[700:]], texts)
    assert np.abs(np.subtract(found.stretch, (700, ROWS - 1))).max() <= 1


def test_texts_without_common_words_tell_nothing(pair):
    _, teacher, student = pair
    assert parted_by_texts(np.r_[teacher[:700], student[700:]], [f"w{row}" for row in range(ROWS)]) == (None, 0)


def test_few_rows_tell_nothing(pair):
    texts, teacher, _ = pair
    assert parted_by_texts(teacher[:900], texts[:900]) == (None, 0)
    assert changed_at(teacher[:50]) is None
