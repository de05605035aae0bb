"""What is said of a confidence: by hand, and in the report of a head that has one."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
import torch

from alignkit.evaluation.comparison import compare
from alignkit.evaluation.confidence_figures import ROUTED, confidence_figures
from alignkit.metrics.alignment import overlap_at_k
from alignkit.reporting.confidence_words import confidence_words
from alignkit.reporting.pictures import draw
from alignkit.reporting.report_files import write_report
from alignkit.training.confidence_fit import fit_confidence


def at(figures, share):
    return next(one for one in figures.routing if one.share == share)


def test_routing_by_hand():
    figures = confidence_figures(np.array([0.9, 0.1, 0.5, 0.3]), np.array([1.0, 0.0, 0.6, 0.2]))
    assert at(figures, 0.0).overlap == pytest.approx(0.45) == figures.true_mean
    half = at(figures, 0.5)
    assert (half.overlap, half.random, half.below) == (pytest.approx(0.9), pytest.approx(0.725), 0.5)
    assert at(figures, 1.0).overlap == at(figures, 1.0).random == 1 and at(figures, 1.0).below is None
    assert figures.spearman == pytest.approx(1)


def test_a_confidence_that_says_nothing_routes_as_chance_does():
    found = np.sort(np.random.default_rng(0).random(200))  # in an order that a tie must not profit from
    figures = confidence_figures(np.full(200, 0.5), found)
    assert figures.spearman is None
    assert all(one.overlap == pytest.approx(one.random) for one in figures.routing)


def test_a_wrong_confidence_routes_worse_than_chance():
    found = np.linspace(0, 1, 100)
    figures = confidence_figures(1 - found, found)
    assert figures.spearman == pytest.approx(-1) and at(figures, 0.2).overlap < at(figures, 0.2).random


def test_queries_without_a_figure_are_left_out():
    told, found = np.array([0.2, 0.9, 0.4]), np.array([0.1, np.nan, 0.3])
    assert confidence_figures(told, found) == confidence_figures(told[[0, 2]], found[[0, 2]])
    empty = confidence_figures(told, np.full(3, np.nan))
    assert empty.queries == 0 and empty.routing == empty.reliability == () and empty.true_mean is None
    assert len(confidence_words(empty)) == 1
    json.dumps(empty.to_json(), allow_nan=False)


def test_reliability_holds_every_query_once_from_the_least_sure_on():
    generator = np.random.default_rng(0)
    told, found = generator.random(57), generator.random(57)
    reliability = confidence_figures(told, found).reliability
    assert sum(one.queries for one in reliability) == 57 and len(reliability) == 10
    assert [one.told for one in reliability] == sorted(one.told for one in reliability)
    assert np.average([one.true for one in reliability], weights=[one.queries for one in reliability]) == (
        pytest.approx(found.mean())
    )


@pytest.mark.parametrize(("shift", "words"), [(0.2, "too sure"), (-0.2, "not sure enough"), (0.0, None)])
def test_what_is_off_is_said(shift, words):
    found = np.linspace(0.3, 0.7, 50)
    said = " ".join(confidence_words(confidence_figures(found + shift, found)))
    assert "fallback_below=" in said and (words in said if words else "On average" not in said)


def test_the_report_shows_it_where_the_head_has_one(demo_set, demo_artifact, demo_baselines, demo_splits, tmp_path):
    parts = {**demo_artifact.parts, "confidence": fit_confidence(demo_artifact.head, demo_splits)}
    sure = compare(demo_set, dataclasses.replace(demo_artifact, parts=parts), demo_baselines, resamples=50)
    figures = sure.confidence
    with torch.inference_mode():
        told = parts["confidence"](torch.from_numpy(np.array(demo_set.queries.student, dtype=np.float32))).numpy()
    student = torch.from_numpy(np.array(demo_set.queries.student, dtype=np.float32))
    with torch.inference_mode():
        per_query = overlap_at_k(demo_artifact.head(student), torch.from_numpy(demo_set.queries.teacher)).numpy()
    expected = scipy.stats.spearmanr(told, per_query).statistic
    assert figures.spearman == pytest.approx(expected, abs=1e-6) and figures.queries == 600
    assert [one.share for one in figures.routing] == list(ROUTED)
    assert at(figures, 0.0).overlap == pytest.approx(sure.rows["aligned"]["overlap@10"])
    assert at(figures, 0.2).overlap > at(figures, 0.2).random
    write_report(sure, tmp_path)
    report = (tmp_path / "alignment_report.md").read_text(encoding="utf-8")
    assert "## How sure the head is" in report and f"| 20% | {at(figures, 0.2).overlap:.3f} |" in report
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "send unsure queries to the teacher?" in page
    assert (
        json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["meta"]["confidence"] == figures.to_json()
    )

    unsure = compare(demo_set, demo_artifact, demo_baselines, resamples=50)
    assert unsure.confidence is None and len(draw(unsure)) == page.count("<svg") - 2
    write_report(unsure, tmp_path / "without", html=False)
    assert "How sure" not in (tmp_path / "without" / "alignment_report.md").read_text(encoding="utf-8")
