"""Which runs are worth having."""

import itertools

import pytest

from alignkit.comparing.finished_run import FinishedRun
from alignkit.comparing.leaderboard import dominates, group_runs
from alignkit.comparing.query_cost import QueryCost, StudentCost


def run(name, quality, **meta):
    meta = {"judged": "aligned", "measure": "ndcg@10", "test_set": "a", **meta}
    return FinishedRun(None, name, {"model": name}, {"aligned": {"ndcg@10": quality}}, meta)


def cost(head_us, student_us=100.0):
    return QueryCost(head_us, 4, StudentCost(student_us, 8, "this CPU"))


def front(*given, objective=None):
    (group,) = group_runs(given, objective)
    return [(entry.run.name, entry.on_front) for entry in group.entries]


def test_the_front_is_of_quality_and_cost():
    given = [(run("dear", 0.9), cost(900)), (run("cheap", 0.7), cost(10)), (run("worse", 0.8), cost(1200)),
             (run("between", 0.8), cost(400))]  # fmt: skip
    assert front(*given) == [("dear", True), ("between", True), ("worse", False), ("cheap", True)]


def test_times_that_hardly_differ_are_the_same():
    assert front((run("a", 0.90), cost(10)), (run("b", 0.89), cost(9))) == [("a", True), ("b", False)]
    assert front((run("a", 0.9), cost(11)), (run("b", 0.9), cost(10))) == [("b", True), ("a", True)]


def test_without_a_students_time_the_heads_are_compared():
    unknown = StudentCost(None, None, "m: not timed, it does not run in this process")
    (group,) = group_runs([(run("a", 0.9), QueryCost(5.0, 4, unknown)), (run("b", 0.8), cost(1.0))])
    assert not group.costs_embedding and [group.cost_us(entry) for entry in group.entries] == [5.0, 1.0]
    assert group.notes == ["m: not timed, it does not run in this process"]


def test_the_objective_decides_where_all_have_it():
    losses = [(run(name, quality, validation={"val/loss": loss}), cost(10)) for name, quality, loss in
              (("a", 0.9, 0.3), ("b", 0.8, 0.1))]  # fmt: skip
    assert front(*losses, objective="val/loss") == [("b", True), ("a", False)]
    assert front(*losses, (run("c", 0.95), None), objective="val/loss") == [("c", False), ("a", True), ("b", False)]


def test_a_run_without_the_figure_comes_last():
    assert front((run("a", None), cost(1)), (run("b", 0.1), cost(9)))[-1] == ("a", False)


@pytest.mark.parametrize("costs", [*itertools.permutations((1.0, 1.04, 1.08))])
def test_no_circle_of_runs_beats_itself(costs):
    points = [*zip((0.5, 0.5, 0.5), costs, strict=True), (0.6, 1.12)]
    assert any(not any(dominates(other, point) for other in points) for point in points)
