"""What a run's own file says, which anybody may have written."""

import pytest

from alignkit.exporters.run_record import RunRecord
from alignkit.metrics.intervals import Interval

SHARE = {"value": 0.95, "low": 0.93, "high": 0.97}
VERDICT = {"name": "use", "headline": "Use it.", "reasons": ["it keeps 95%"]}


def record(**meta):
    return RunRecord(meta=meta)


def test_what_a_run_writes_is_told():
    told = record(shares={"aligned": SHARE}, measure="ndcg@10", verdict_text=VERDICT, pairs={"train": 2700})
    assert told.share("aligned") == Interval(0.95, 0.93, 0.97) and told.share("student") is None
    assert told.measure == "ndcg@10" and told.pairs == {"train": 2700}
    assert (told.verdict.name, told.verdict.headline, told.verdict.reasons) == ("use", "Use it.", ("it keeps 95%",))


@pytest.mark.parametrize(
    "shares",
    [
        None, [], "aligned", {"aligned": 0.9}, {"aligned": {"value": 0.9}}, {"aligned": SHARE | {"low": "0.93"}},
        {"aligned": SHARE | {"high": float("nan")}}, {"aligned": SHARE | {"high": float("inf")}},
        {"aligned": SHARE | {"high": 10**400}}, {"aligned": SHARE | {"value": True}},
        {"aligned": SHARE | {"low": 0.98}}, {"aligned": SHARE | {"low": -0.1}},
    ],
)  # fmt: skip
def test_a_share_that_cannot_be_one_is_none(shares):
    assert record(shares=shares).share("aligned") is None


@pytest.mark.parametrize("found", [None, 1, "use", [], {}, {"name": 1, "headline": "x"}, {"name": "use"}])
def test_a_verdict_without_words_is_none(found):
    assert record(verdict_text=found).verdict is None


def test_other_values_of_another_kind_are_left_out():
    told = record(measure={"ndcg@10": 1}, pairs=[1], verdict_text=VERDICT | {"reasons": ["a", 1, None]})
    assert (told.measure, told.pairs, told.verdict.reasons) == (None, {}, ("a",))
    assert record(verdict_text=VERDICT | {"reasons": "abc"}, pairs={"train": True, "test": "9"}).verdict.reasons == ()
    assert record(pairs={"train": True, "test": "9", "validation": 3}).pairs == {"validation": 3}
