"""Every outcome of the verdict, its order of doubts, and that no threshold is passed by construction."""

from __future__ import annotations

import dataclasses

import pytest

from alignkit.errors import ConfigError
from alignkit.evaluation.columns import Column
from alignkit.evaluation.rankings import cascade_size
from alignkit.evaluation.verdict import Answer, Evidence, Rule, Thresholds, decide
from alignkit.metrics.intervals import Interval
from alignkit.reporting.verdict_words import HEADLINES, REASONS, verdict_words
from alignkit.runs.training_sample import Unlike


def interval(value, width=0.02):
    return Interval(value, value - width, value + width)


GOOD = Evidence(
    measure=Column.NDCG_10,
    queries=500,
    groups=500,
    corpus=1000,
    share=interval(0.94),
    gain=interval(0.10),
    lead=interval(-0.15),
    teacher_mean=0.75,
    student_mean=0.60,
    cascade_share=interval(0.99, 0.005),
    cascade_size=50,
    floor_share=0.02,
    floor_cascade_share=0.06,
    asked=500,
)


def verdict_of(thresholds=None, **changes):
    """In words, which is where a user meets it."""
    return verdict_words(decide(dataclasses.replace(GOOD, **changes), thresholds))


def test_use():
    verdict = verdict_of()
    assert verdict.name == "use"
    assert "aligned keeps 94.0% of the teacher's nDCG@10" in verdict.reasons[0]
    assert "92.0%" in verdict.reasons[0] and "reaches 90%" in verdict.reasons[0]
    assert "+0.100" in verdict.reasons[1]


def test_use_needs_the_lower_bound_not_the_mean():
    assert verdict_of(share=interval(0.91, 0.02)).name == "use_with_cascade"


def test_own_index_where_the_student_is_better_beyond_its_interval():
    assert verdict_of(gain=interval(-0.05, 0.02)).name == "own_index"
    assert verdict_of(gain=interval(-0.05, 0.06)).name == "use"
    assert verdict_of(share=interval(0.8), gain=interval(-0.05, 0.02)).name == "own_index"


def test_as_good_as_the_teacher_is_used_even_where_the_student_is_better():
    verdict = verdict_of(share=interval(0.98, 0.01), gain=interval(-0.01, 0.005))
    assert verdict.name == "use"
    assert "lower bound reaches 90% and the share 97%" in verdict.reasons[0]
    assert "the student's own index is better" in verdict.reasons[1]


def test_a_share_of_the_teacher_does_not_excuse_a_student_that_is_much_better():
    much_better = {"share": interval(1.04, 0.02), "gain": interval(-0.05, 0.01)}
    assert verdict_of(**much_better).name == "own_index"
    # 3% of the teacher's 0.75
    assert verdict_of(**much_better | {"gain": interval(-0.022, 0.005)}).name == "use"
    assert verdict_of(**much_better | {"gain": interval(-0.023, 0.005)}).name == "own_index"


def test_a_teacher_that_finds_less_than_its_student_is_the_first_thing_to_say():
    worse = {
        "lead": interval(0.296, 0.03), "teacher_mean": 0.421, "student_mean": 0.717,
        "share": interval(1.04, 0.05), "gain": interval(-0.279, 0.03),
    }  # fmt: skip
    verdict = verdict_of(**worse)
    assert verdict.name == "teacher_is_worse"
    assert verdict.headline.startswith("Do not keep this teacher")
    assert verdict.reasons[0] == (
        "the student's own index reaches nDCG@10 0.717, the teacher's 0.421: +0.296 (95% interval +0.266 to +0.326)"
    )
    assert verdict.reasons[1] == (
        "aligned reaches 104.0% of the teacher's figure (95% interval 99.0% to 109.0%) and trails the student's own "
        "index as well: -0.279 (95% interval -0.309 to -0.249)"
    )
    assert "a model made for embeddings" in verdict.reasons[2] and "pooling" in verdict.reasons[2]
    # what the head saw, and what a share of such a teacher is, changes nothing
    assert verdict_of(**worse, seen=400).name == "teacher_is_worse"
    assert verdict_of(**worse | {"share": None}).name == "teacher_is_worse"
    # within chance it is no finding, and of few queries nothing is
    assert verdict_of(**worse | {"lead": interval(0.02, 0.03)}).name == "own_index"
    assert verdict_of(**worse, queries=29, groups=29).name == "too_little_data"


def test_a_head_that_makes_up_for_a_poor_teacher_is_used():
    """Whitened queries may find in its index what the student finds in its own: then nothing better is to be had."""
    poor = {"lead": interval(0.21, 0.03), "teacher_mean": 0.41, "student_mean": 0.62, "share": interval(1.5, 0.05)}
    for gain in (interval(0.05), interval(-0.01)):
        verdict = verdict_of(**poor, gain=gain)
        assert verdict.name == "use" and verdict.reasons[0].startswith("aligned keeps 150.0% of the teacher's nDCG@10")
    assert verdict_of(**poor, gain=interval(-0.05)).name == "teacher_is_worse"
    # it keeps too little for sure: then the teacher is what is wrong
    assert verdict_of(**poor | {"share": interval(0.95, 0.1)}, gain=interval(0.0, 0.1)).name == "teacher_is_worse"
    # what it saw in training still decides nothing
    assert verdict_of(**poor, gain=interval(0.05), seen=400).name == "too_little_data"


def test_texts_unlike_the_training_sentences_are_the_likelier_cause():
    broken = {"share": interval(0.05, 0.01), "gain": interval(-0.7)}
    assert "are all pairs of the same sentence?" in verdict_of(**broken).reasons[0]
    verdict = verdict_of(**broken, unlike=Unlike(0.2, 0.7))
    assert verdict.name == "do_not"
    assert "probably because these texts are unlike" in verdict.reasons[0]
    assert "are all pairs" not in verdict.reasons[0]


def test_a_high_share_is_not_enough_without_its_lower_bound():
    assert verdict_of(share=interval(0.98, 0.15)).name == "use_with_cascade"
    assert verdict_of(share=interval(0.98, 0.15), cascade_share=None).name == "do_not"
    assert verdict_of(share=interval(0.98, 0.15), gain=interval(-0.01, 0.005)).name == "own_index"


def test_cascade_only_where_it_holds_and_a_blind_head_would_not():
    weak = {"share": interval(0.80)}
    assert verdict_of(**weak).name == "use_with_cascade"
    assert verdict_of(**weak, cascade_share=interval(0.90, 0.01)).name == "do_not"
    assert verdict_of(**weak, floor_cascade_share=0.93).name == "do_not"
    assert verdict_of(**weak, cascade_share=None).name == "do_not"


def test_a_broken_head_is_not_excused_by_a_good_student():
    verdict = verdict_of(share=interval(0.05, 0.01), gain=interval(-0.7))
    assert verdict.name == "do_not"
    assert "the upper bound is below 25%, which counts as broken" in verdict.reasons[0]
    # not beyond its interval: the student's index is the better advice
    assert verdict_of(share=interval(0.23, 0.05), gain=interval(-0.3)).name == "own_index"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"queries": 29, "groups": 29}, "29 queries can be judged; at least 30 are"),
        ({"queries": 400, "groups": 9}, "400 queries can be judged, of 9 labels only"),
        ({"corpus": 49}, "49 texts"),
        ({"share": None}, "teacher's own"),
        # a head that knows nothing keeps all of nothing: that is not the reason
        ({"share": None, "floor_share": 1.0}, "teacher's own nDCG@10 is 0"),
        ({"floor_share": 0.9}, "so any head would reach 90%"),
        ({"seen": 26}, "trained on 26 of the 500 queries (5.2%; at most 5% may be)"),
    ],
)
def test_too_little_data(changes, said):
    verdict = verdict_of(**changes)
    assert verdict.name == "too_little_data"
    assert said in verdict.reasons[0]


def test_a_few_queries_seen_in_training_do_not_decide():
    assert verdict_of(seen=25).name == "use"
    assert "was trained on part of it" in verdict_of(seen=26).headline


def test_thresholds_are_the_callers():
    assert verdict_of(Thresholds(0.95, 0.97)).name == "use_with_cascade"
    assert verdict_of(Thresholds(0.80, 0.85), gain=interval(-0.1)).name == "use"
    with pytest.raises(ConfigError, match="worth_using <= as_good_as_teacher"):
        Thresholds(0.98, 0.97)


def test_a_cascade_never_sees_so_much_that_chance_would_do():
    for corpus in (50, 125, 600, 10_000, 10**6):
        assert 10 <= cascade_size(corpus) <= 100
        assert cascade_size(corpus) / corpus <= 0.2


def test_every_verdict_has_a_sentence_and_json():
    names = {"use", "use_with_cascade", "own_index", "teacher_is_worse", "do_not", "too_little_data"}
    assert set(HEADLINES) == set(Answer) == names
    assert set(REASONS) == set(Rule)
    assert verdict_of().to_json()["name"] == "use"
