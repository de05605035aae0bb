"""Figures by group: the worst first with their intervals, those that are too small last and without."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from alignkit.evaluation.group_figures import figures_of_groups
from alignkit.evaluation.table_rows import RowName
from alignkit.metrics.intervals import PairedBootstrap
from alignkit.pairs.evaluation_set import EvaluationSet, Grouping, Side

ROWS = RowName.ALIGNED, RowName.STUDENT, RowName.TEACHER


@pytest.fixture
def measured():
    """200 queries of 100 labels, and what three rows find."""
    side = Side(np.ones((200, 2)), np.ones((200, 2)), [f"query {row}" for row in range(200)])
    test = EvaluationSet(side, side, np.arange(200), labels=[str(row // 2) for row in range(200)])
    draw = np.random.default_rng(0).random
    return test, {name: draw(200) * height for name, height in zip(ROWS, (0.7, 0.6, 1.0), strict=True)}


def in_groups(test, **groups):
    return dataclasses.replace(test, grouping=Grouping("team", {name: np.array(rows) for name, rows in groups.items()}))


def test_a_group_has_the_figures_that_its_queries_alone_have(measured):
    test, figures = measured
    figures[RowName.ALIGNED][:80] *= 0.5
    found = figures_of_groups(in_groups(test, good=range(80, 200), bad=range(80)), figures, resamples=200)
    assert [(one.name, one.queries) for one in found] == [("bad", 80), ("good", 120)]
    bad = found[0]
    alone = PairedBootstrap({name: figures[name][:80] for name in ROWS}, np.array(test.labels)[:80], resamples=200)
    assert bad.interval == alone.mean(RowName.ALIGNED)
    assert bad.loss == alone.difference(RowName.ALIGNED, RowName.TEACHER)
    assert bad.share == alone.ratio(RowName.ALIGNED, RowName.TEACHER)
    assert bad.own_index == pytest.approx(figures[RowName.STUDENT][:80].mean())
    assert bad.interval.high < found[1].interval.low


def test_groups_that_are_too_small_come_last_without_an_interval(measured):
    test, figures = measured
    figures[RowName.ALIGNED][:29] = 0  # the worst, if it could be told
    found = figures_of_groups(
        in_groups(test, few=range(29), enough=range(30, 60), few_labels=[60, 61, 62, 63] * 10), figures, resamples=20
    )
    assert [(one.name, one.is_too_small) for one in found] == [("enough", False), ("few", True), ("few_labels", True)]
    told = [one.to_json() for one in found]
    assert told[1]["interval"] is None and told[1]["too_small"] and told[1]["product"] == 0 and json.dumps(told)
    assert set(told[0]["share"]) == {"value", "low", "high"}


def test_queries_without_a_figure_do_not_count_and_one_may_be_in_two_groups(measured):
    test, figures = measured
    for name in ROWS:
        figures[name][:20] = np.nan
    found = {
        one.name: one.queries
        for one in figures_of_groups(in_groups(test, a=range(60), b=range(50, 100), c=range(20)), figures, resamples=20)
    }
    assert found == {"a": 40, "b": 50}


def test_a_teacher_that_finds_nothing_leaves_no_share(measured):
    test, figures = measured
    figures[RowName.TEACHER][:] = 0
    (only,) = figures_of_groups(in_groups(test, all=range(200)), figures, resamples=20)
    assert only.share is None and only.interval is not None
    assert figures_of_groups(test, figures) == ()
