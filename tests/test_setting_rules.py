"""One mechanism for what a setting may be: the message names the setting, what it is, and what was expected."""

import re

import pytest

from alignkit.errors import ConfigError
from alignkit.setting_rules import SEED, SWITCH, check, is_number, number_above, number_from, of_type, one_of, whole


@pytest.mark.parametrize(
    ("rule", "good", "bad", "expected"),
    [
        (whole(1), [1, 10**400], [0, True, 1.0, "1", None], "a whole number of at least 1"),
        (whole(0, 3), [0, 3], [4, -1], "a whole number of at least 0 and at most 3"),
        (SEED, [0, 2**32 - 1], [2**32, -1, False], "a whole number of at least 0 and at most 4294967295"),
        (number_above(0), [1, 1e-9], [0, float("nan"), float("inf"), True, "x"], "a number above 0"),
        (number_above(0, most=1), [1, 0.01], [0, 1.01, False], "a number above 0 and at most 1"),
        (number_from(0, below=1), [0, 0.99], [1, -0.1, None], "a number of at least 0 and below 1"),
        (of_type(int | None), [3, None], [1.0, "3", True], "a whole number or null"),
        (of_type(float), [1, 0.5], ["x", None, False], "a number"),
        (one_of(("a", "b")), ["a"], ["c", None, 1], "a or b"),
        (SWITCH, [True, False], [0, 1, "no", None], "true or false"),
        (SWITCH.or_null("which asks"), [None, True], [0, "no"], "true or false, or null, which asks"),
    ],
)
def test_a_rule_takes_what_fits_and_says_what_was_expected(rule, good, bad, expected):
    for value in good:
        check({"topk": value}, {"topk": rule})
    for value in bad:
        shown = "null" if value is None else value
        with pytest.raises(ConfigError, match=re.escape(f"place.topk={shown}: expected {expected}")):
            check({"topk": value}, {"topk": rule}, "place")


def test_settings_without_a_rule_and_rules_without_a_setting_are_passed_over():
    check({"a": object()}, {"b": SWITCH})


def test_true_is_no_number():
    assert [is_number(value) for value in (True, 1, 1.5, float("inf"), "1", None)] == [False, True, True] + [False] * 3


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("embed confirm=maybe", "confirm=maybe: expected true or false"),
        ("embed retry_quarantined=1", "retry_quarantined=1: expected true or false"),
        ("export head=x format=numpy out=y tolerance=0", "tolerance=0: expected a number above 0, or null"),
        ("serve head=x insecure=perhaps", "insecure=perhaps: expected true or false"),
        ("migrate head=x vectors=y out=z role=both", "role=both: expected query or document"),
        ("build validation=lots", "validation=lots: expected a number"),
        ("check format=xml", "format=xml: expected table or json"),
        ("train seed=1.5", "seed=1.5: expected a whole number of at least 0"),
        ("train model=mlp model.hidden=0", "model.hidden=0: expected a whole number of at least 1"),
        ("train model=mlp model.dropout=1", "model.dropout=1: expected a number of at least 0 and below 1"),
        ("train model=low_rank model.energy=2", "model.energy=2: expected a number above 0 and at most 1"),
        ("train model=mlp model.normalise=perhaps", "model.normalise=perhaps: expected true or false"),
        ("train model=mlp model.init=warm", "model.init=warm: expected closed_form or random"),
        ("train model=mlp loss=rank_kl loss.temperature=0", "loss.temperature=0: expected a number above 0"),
        ("train model=mlp loss=info_nce loss.bank_size=1.5", "loss.bank_size=1.5: expected a whole number"),
        ("train model=mlp loss=mix loss.losses.rank_kl.temperature=no", "loss.losses.rank_kl.temperature=no: expected"),
        ("train model=mlp loss=mix loss.weights.cosine=-1", "loss.weights.cosine=-1: expected a number of at least 0"),
        ("build out=o generator=llm generator.model=m generator.attempts=0", "generator.attempts=0: expected a whole"),
        (
            "build out=o generator=llm generator.model=m generator.budget_s=long",
            "generator.budget_s=long: expected seconds",
        ),
        (
            "build out=o generator=llm generator.model=m generator.api=grpc",
            "generator.api=grpc: expected ollama or openai",
        ),
        ("build out=o generator=llm generator.model=m generator.retries=no", "generator.retries=no: expected a number"),
        (
            "build out=o generator=import generator.path=p generator.kind=poems",
            "generator.kind=poems: expected one of auto",
        ),
        (
            "build out=o generator=import generator.path=p generator.limit=0",
            "generator.limit=0: expected a whole number",
        ),
        ("build out=o test=1", "test=1: expected a number of at least 0 and below 1"),
        ("train model=auto model.budget_s=0", "model.budget_s=0: expected a number above 0"),
        ("train whiten_by=luck", "whiten_by=luck: expected self_mrr or overlap@10, or null"),
        ("embed which=both sentences=s dtype=int8", "dtype=int8: expected float16 or float32"),
        ("evaluate threads=two", "threads=two: expected a whole number of at least 1"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_line_in_every_command(run_command, tmp_path, command, says):
    name, *words = command.split()
    code, out, err = run_command(name, *words)
    assert (code, out) == (1, "") and err.startswith(f"alignkit: {says}") and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_name_is_answered_with_the_nearest_right_one():
    rules = {"step": one_of(["plan", "copy", "cut_over"]).or_null(), "html": SWITCH}
    for name, value, meant in [("step", "cop", "copy"), ("step", "CUT-OVER", "cut_over"), ("html", "ture", "true")]:
        with pytest.raises(ConfigError, match=rf"{name}={value}: expected .*; did you mean {meant}\?$"):
            check({name: value}, rules)
    with pytest.raises(ConfigError, match="or null$"):  # nothing is near
        check({"step": 7}, rules)
