"""Settings that cannot be used are refused before anything is computed."""

from __future__ import annotations

import pytest

from alignkit.errors import ConfigError
from alignkit.evaluation.evaluate_settings import check_settings

GOOD = {
    "seed": 0, "resamples": 1000, "learning_curve": False, "html": True, "tensorboard": True,
    "time_embedding": "auto", "search": "exact", "require": None,
    "thresholds": {"worth_using": 0.9, "as_good_as_teacher": 0.97},
}  # fmt: skip


def test_the_defaults_pass():
    assert check_settings(GOOD).worth_using == 0.9
    check_settings({**GOOD, "require": {"recall@10": 0.5, "ndcg@10_share": 0.9, "share_of_teacher": 1}})


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("seed", -1, "seed=-1: expected a whole number of at least 0"),
        ("seed", "abc", "seed=abc"),
        ("seed", True, "seed=True"),
        ("seed", 2**32, "at most 4294967295"),
        ("resamples", 0, "resamples=0: expected a whole number of at least 1"),
        ("resamples", "abc", "resamples=abc"),
        ("html", "no", "html=no: expected true or false"),
        ("time_embedding", "both", "expected auto, true or false"),
        ("search", "annoy", "expected exact or faiss"),
        ("thresholds", 0.9, "thresholds=0.9: expected numbers named worth_using and as_good_as_teacher"),
        ("thresholds", {"worth_using": "high"}, "thresholds.worth_using=high: expected a number"),
        ("thresholds", {"worth_using": None}, "thresholds.worth_using=null"),
        ("thresholds", {"worth_using": 1.2}, "worth_using"),
        ("require", 0.9, "require=0.9: expected figures with their least values"),
        ("require", [0.9], "expected figures with their least values"),
        ("require", {"recall@10": "much"}, "recall@10 must be a number, got 'much'"),
        ("require", {"recall@10": None}, "must be a number"),
        ("require", {"recall@10": float("nan")}, "must be a number"),
        ("require", {"recall@3": 0.9}, "unknown figure 'recall@3'; expected one of share_of_teacher"),
    ],
)
def test_what_cannot_be_used(name, value, said):
    with pytest.raises(ConfigError) as error:
        check_settings({**GOOD, name: value})
    assert said in str(error.value)
