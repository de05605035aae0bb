"""What stands in a result beside the table: examples, curves, requirements, and its JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from alignkit.costs import CallCost
from alignkit.errors import ConfigError
from alignkit.evaluation.columns import Column
from alignkit.evaluation.judging import figures_by_query
from alignkit.evaluation.learning_curve import forecast, learning_curve
from alignkit.evaluation.rankings import Ranking
from alignkit.evaluation.recall_curves import recall_curves
from alignkit.evaluation.requirements import failed_requirements
from alignkit.evaluation.table_rows import RowName
from alignkit.pairs.base import Origin, PairSplits
from alignkit.reporting.curve_words import curve_words


@pytest.fixture
def result(demo_result):
    return demo_result


def test_worst_groups_come_first(result):
    losses = [group.product - group.teacher for group in result.groups]
    assert len(result.groups) == 10 and losses == sorted(losses)
    worst = result.groups[0]
    assert worst.queries == 60 and not worst.is_too_small
    assert worst.interval.low < worst.product < worst.interval.high
    assert worst.loss.value == pytest.approx(worst.product - worst.teacher) and worst.loss.high < 0
    assert worst.share.value == pytest.approx(worst.product / worst.teacher)


def test_worst_queries_are_those_that_lose_most(result):
    losses = [failure.product - failure.teacher for failure in result.failures]
    assert len(losses) == 10 and losses == sorted(losses) and losses[0] < -0.5
    assert all(failure.found.text != failure.query for failure in result.failures)


def test_recall_curves_end_where_the_table_says(result):
    assert result.recall.of_relevant and RowName.CASCADE not in result.recall.by_row
    assert result.recall.by_row["aligned"][9] == pytest.approx(result.rows["aligned"]["recall@10"])


def test_without_judgements_the_curve_is_of_the_teachers_first_ten(demo_set):
    generator = np.random.default_rng(0)
    rankings = {
        name: Ranking(np.argsort(generator.random((600, 600)), axis=1)[:, :50], np.zeros((600, 50)))
        for name in (RowName.TEACHER, RowName.ALIGNED)
    }
    curves = recall_curves(demo_set, rankings, Column.OVERLAP_10)
    overlap = figures_by_query(demo_set, rankings)[Column.OVERLAP_10]
    assert not curves.of_relevant and curves.by_row["teacher"][9] == 1
    assert curves.by_row["aligned"][9] == pytest.approx(overlap["aligned"].mean())


def test_the_learning_curve_grows_ends_at_the_ridge_head_and_says_what_more_would_cost(result, demo_splits, demo_set):
    curve = learning_curve(demo_splits, demo_set, result.measure, cost=CallCost(10.0, True, 0.5))
    assert curve.pairs == (84, 168, 337, 675, 1350, 2700)
    assert all(np.diff(curve.cosines) > 0)
    assert curve.figures[-1] == pytest.approx(result.rows["ridge"]["ndcg@10"], abs=0.02)
    assert curve.figures[-1] <= curve.forecast <= 1
    assert curve.calls == 3_600  # the texts of all three splits
    # its words name the calls of the next step and their price
    said = curve_words(replace(result, curve=curve))
    assert said.endswith(
        "That takes 3,600 more calls of the teacher: about 36,000 tokens (estimated from characters), 0.02 at 0.5 a "
        "million."
    )
    told = replace(result, curve=curve).to_json()["meta"]["learning_curve"]
    assert told["calls"] == 3_600 and told["cost"]["cost"] == pytest.approx(0.018) and json.dumps(told)
    unsure = replace(curve, forecast=None, cost=None)
    assert curve_words(replace(result, curve=unsure)).endswith("Twice as many take 3,600 more calls of the teacher.")


def test_too_few_pairs_have_no_learning_curve(make_pairs, demo_set):
    few = PairSplits(make_pairs(30), make_pairs(20), make_pairs(20), Origin("few", real=True, split="by hand"))
    assert learning_curve(few, demo_set, Column.OVERLAP_10) is None


def test_forecast_by_hand():
    assert forecast([10, 20, 40], [0.2, 0.4, 0.5]) == pytest.approx(0.55)
    assert forecast([10, 20, 40], [0.2, 0.3, 0.6]) == pytest.approx(0.9)
    assert forecast([10, 20, 40], [0.2, 0.5, 0.4]) == 0.4
    assert forecast([10, 20], [0.2, 0.5]) is None


def test_requirements(result):
    share = result.certainty.shares["aligned"].value
    assert failed_requirements(result, {"recall@10": 0.5, "share_of_teacher": share}) == []
    failed = failed_requirements(result, {"recall@10": 0.99, "share_of_teacher": 1.0})
    assert len(failed) == 2 and "at least 0.99 is required" in failed[0]
    with pytest.raises(ConfigError, match="'recall@7' was not measured; known here: .*share_of_teacher"):
        failed_requirements(result, {"recall@7": 0.5})


def test_json_has_every_figure_under_its_published_key(result):
    made = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert list(made["rows"]) == ["teacher", "aligned", "aligned_both", "student", "cascade@30", "ridge", "raw", "mean"]
    aligned = made["rows"]["aligned"]
    assert list(aligned)[:9] == [
        "cosine_mean", "cosine_p05", "cosine_p50", "cosine_p95", "cosine_centered_mean", "r2", "spearman", "cka",
        "overlap@10"]  # fmt: skip
    assert {"recall@1", "recall@1_share", "mrr", "mrr@10_share", "ndcg@10", "ndcg@10_share"} <= set(aligned)
    assert set(made["rows"]["cascade@30"]) & {"cosine_mean", "r2", "cka", "overlap@10_share"} == set()
    meta = made["meta"]
    assert meta["verdict"] == "use" and meta["measure"] == "ndcg@10" and meta["cascade"] == "cascade@30"
    assert meta["queries"] == meta["corpus"] == meta["judged_queries"] == 600 and meta["query_groups"] == 150
    assert meta["thresholds"] == {"worth_using": 0.9, "as_good_as_teacher": 0.97, "broken": 0.25}
    assert set(meta["differences"]["ndcg@10"]) == {"aligned - student", "aligned - ridge", "aligned - teacher"}
    assert len(meta["groups"]) == 10 and "grouped_by" not in meta and not meta["groups"][0]["too_small"]
    assert set(meta["intervals"]["mrr"]["cascade@30"]) == set(meta["shares"]["mean"]) == {"value", "low", "high"}
    assert meta["alarms"]["figures"]["collapsed_dimensions"] == {"aligned": 0.0}
    assert meta["student_identity"]["layers"] == 2 and meta["real"] is True and meta["seed"] == 0
