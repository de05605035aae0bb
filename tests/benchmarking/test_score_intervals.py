"""Intervals of scores and of their shares: the same draws for all rows, strata that count the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from alignkit.benchmarking.score_intervals import resampled_scores
from alignkit.benchmarking.unit_figures import Stratum, UnitFigures
from alignkit.evaluation.table_rows import RowName

draw = np.random.default_rng(0).random


def figures(*columns, targets=None):
    return UnitFigures("queries", tuple(Stratum((), column, targets) for column in columns))


def test_strata_count_the_same_whatever_their_size():
    small, large = draw(10), draw(90)
    scores, drawn = resampled_scores({RowName.TEACHER: figures(small, large)}, resamples=500)
    assert scores[RowName.TEACHER] == pytest.approx((small.mean() + large.mean()) / 2)
    assert drawn[RowName.TEACHER].mean() == pytest.approx(scores[RowName.TEACHER], abs=0.02)
    # the ten decide how wide it is
    assert drawn[RowName.TEACHER].std() == pytest.approx(small.std() / np.sqrt(10) / 2, rel=0.25)


def test_rows_share_their_draws():
    teacher = draw(40)
    found = {RowName.TEACHER: figures(teacher), RowName.ALIGNED: figures(0.8 * teacher)}
    _, drawn = resampled_scores(found, resamples=50)
    np.testing.assert_allclose(drawn[RowName.ALIGNED] / drawn[RowName.TEACHER], 0.8)


def test_a_rank_correlation_is_taken_anew_of_every_resample():
    targets = np.round(5 * draw(80))
    rows = {RowName.TEACHER: targets + draw(80), RowName.ALIGNED: targets + 8 * draw(80), RowName.MEAN: np.ones(80)}
    found = {name: figures(column, targets=targets) for name, column in rows.items()}
    scores, drawn = resampled_scores(found, resamples=300, seed=1)
    for name in (RowName.TEACHER, RowName.ALIGNED):
        assert scores[name] == pytest.approx(spearmanr(rows[name], targets)[0])
        low, high = np.quantile(drawn[name], [0.025, 0.975])
        assert low < scores[name] < high
    assert scores[RowName.MEAN] == 0 and not drawn[RowName.MEAN].any()  # scipy says NaN
    chosen = np.random.default_rng(1).integers(0, 80, size=(300, 80))[7]
    assert drawn[RowName.ALIGNED][7] == pytest.approx(spearmanr(rows[RowName.ALIGNED][chosen], targets[chosen])[0])
