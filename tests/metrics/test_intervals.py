"""The bootstrap against scipy's, and what pairing buys."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from alignkit.metrics.intervals import PairedBootstrap, bootstrap_means


def test_agrees_with_scipy():
    figures = np.random.default_rng(0).beta(2, 1, size=400)
    expected = stats.bootstrap(
        (figures,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    found = PairedBootstrap({"row": figures}, resamples=4000).mean("row")
    assert found.value == pytest.approx(figures.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)


def test_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(0)
    inside = 0
    for seed in range(200):
        interval = PairedBootstrap({"row": generator.binomial(1, 0.7, 150)}, resamples=400, seed=seed).mean("row")
        inside += interval.low <= 0.7 <= interval.high
    assert 180 <= inside <= 199


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    figures = np.random.default_rng(0).normal(size=(30, 2))
    whole = bootstrap_means(figures, resamples=50, seed=3)
    monkeypatch.setattr("alignkit.metrics.intervals._BLOCK_DRAWS", 100)
    blocked = bootstrap_means(figures, resamples=50, seed=3)
    np.testing.assert_allclose(blocked, whole)
    assert not np.allclose(whole, bootstrap_means(figures, resamples=50, seed=4))


def test_a_difference_is_paired():
    generator = np.random.default_rng(0)
    hard = generator.normal(size=500)
    rows = {"one": hard + 0.02 + 0.01 * generator.normal(size=500), "other": hard}
    bootstrap = PairedBootstrap(rows)
    assert bootstrap.mean("one").low < bootstrap.mean("other").high
    difference = bootstrap.difference("one", "other")
    assert 0.015 < difference.low < difference.value < difference.high < 0.025


def test_a_ratio_of_a_row_to_itself_is_exactly_1():
    interval = PairedBootstrap({"row": np.random.default_rng(0).random(50)}).ratio("row", "row")
    assert (interval.value, interval.low, interval.high) == (1.0, 1.0, 1.0)


def test_undefined_is_none():
    rows = {"zero": np.zeros(20), "one": np.ones(20)}
    bootstrap = PairedBootstrap(rows)
    assert bootstrap.ratio("one", "zero") is None
    assert bootstrap.ratio("one", "absent") is None
    assert bootstrap.difference("one", "absent") is None
    empty = PairedBootstrap({"row": np.full(3, np.nan)})
    assert empty.count == 0
    assert empty.mean("row") is None


def test_a_query_that_is_undefined_in_one_row_is_left_out_of_all():
    bootstrap = PairedBootstrap({"one": np.array([1.0, np.nan, 3.0]), "other": np.array([1.0, 100.0, 3.0])})
    assert bootstrap.count == 2
    assert bootstrap.mean("other").value == 2.0
