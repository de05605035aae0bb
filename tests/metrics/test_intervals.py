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


def grouped(generator, groups=80, size=5, spread=0.3, noise=0.1):
    """Figures whose queries fare alike within a group, and the group of each, in no order."""
    own = np.repeat(0.7 + spread * generator.normal(size=groups), size) + noise * generator.normal(size=groups * size)
    order = generator.permutation(groups * size)
    return own[order], np.repeat(np.arange(groups), size)[order]


def test_groups_agree_with_scipy_over_the_means_of_groups():
    figures, groups = grouped(np.random.default_rng(0))
    means = np.array([figures[groups == group].mean() for group in range(80)])
    expected = stats.bootstrap(
        (means,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    bootstrap = PairedBootstrap({"row": figures}, groups, resamples=4000)
    found = bootstrap.mean("row")
    assert (bootstrap.count, bootstrap.groups) == (400, 80)
    assert found.value == pytest.approx(figures.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.005)
    alone = PairedBootstrap({"row": figures}, resamples=4000).mean("row")
    assert found.high - found.low > 1.8 * (alone.high - alone.low)


def test_groups_cover_the_truth_where_queries_do_not():
    inside = {"groups": 0, "queries": 0}
    for seed in range(200):
        figures, groups = grouped(np.random.default_rng(seed), groups=40)
        for name, own in (("groups", groups), ("queries", None)):
            interval = PairedBootstrap({"row": figures}, own, resamples=400, seed=seed).mean("row")
            inside[name] += interval.low <= 0.7 <= interval.high
    assert inside["groups"] >= 180 and inside["queries"] < 150


def test_groups_of_unequal_size_weigh_by_their_queries():
    figures, groups = np.array([1.0, 1.0, 1.0, 0.0]), np.array([7, 7, 7, 2])
    means = bootstrap_means(figures[:, None], groups=np.array([1, 1, 1, 0]), resamples=200)
    assert set(means[:, 0].tolist()) == {0.0, 0.75, 1.0}
    assert PairedBootstrap({"row": figures}, groups).mean("row").value == 0.75


def test_groups_of_one_query_each_change_nothing():
    figures = {"row": np.random.default_rng(0).random(50)}
    assert PairedBootstrap(figures, np.arange(50)).mean("row") == PairedBootstrap(figures).mean("row")


def test_a_group_of_queries_without_a_figure_does_not_count():
    figures = {"row": np.array([1.0, np.nan, 0.5, np.nan])}
    bootstrap = PairedBootstrap(figures, np.array(["a", "b", "a", "a"]))
    assert (bootstrap.count, bootstrap.groups) == (2, 1)
    assert PairedBootstrap({"row": np.full(3, np.nan)}, np.arange(3)).groups == 0


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
