"""What is said of a head after its looks."""

import numpy as np
import pytest

from alignkit.watching.e_process import normal_scores
from alignkit.watching.past_looks import Look, PastLooks, Reference
from alignkit.watching.searched import Figures
from alignkit.watching.standing import TOLD, Standing, difference, judge


def figures(generator, count, mean):
    overlap = generator.binomial(10, np.clip(generator.normal(mean, 0.1, count), 0, 1)) / 10
    return Figures(overlap, 0.5 + overlap / 4)


def looks_of(tmp_path, means, calls=200, reference=600, days=True, one_day=False):
    generator = np.random.default_rng(0)
    past = PastLooks(tmp_path, Reference("those", "here", figures(generator, reference, 0.75)))
    for number, mean in enumerate(means, start=1):
        found = figures(generator, calls, mean)
        scores = normal_scores(found.scores(), past.scores(), [number])
        day = f"2026-05-{1 if one_day else number:02}" if days else None
        look = Look(
            number, f"2026-06-{number % 28 + 1:02}T10:00:00+00:00", "live", None, [], [day] * calls,
            found.overlap.tolist(), found.cosine.tolist(), scores.tolist(),
        )  # fmt: skip
        past = PastLooks(past.folder, past.reference, [*past.looks, look])
    return past


def test_the_same_is_as_before(tmp_path):
    judged = judge(looks_of(tmp_path, [0.75] * 5))
    assert judged.standing is Standing.AS_BEFORE and judged.since is None and judged.calls == 1000
    assert judged.change.low < 0 < judged.change.high and judged.evidence < judged.needed


@pytest.mark.parametrize(("days", "since"), [(True, "2026-05-04"), (False, "2026-06-05")])
def test_worse_says_since_when_and_how_much(tmp_path, days, since):
    judged = judge(looks_of(tmp_path, [0.75] * 3 + [0.6] * 2, days=days))
    assert judged.standing is Standing.WORSE and judged.since == since
    assert judged.change.high < -0.1 and judged.evidence > judged.needed
    assert judged.to_json()["verdict"] == "worse" and not judged.from_first_look


def test_worse_from_the_first_look_on_is_told(tmp_path):
    judged = judge(looks_of(tmp_path, [0.6] * 3))
    assert judged.since == "2026-05-01" and judged.from_first_look


def test_of_two_looks_on_one_day_the_second_may_be_where_it_began(tmp_path):
    judged = judge(looks_of(tmp_path, [0.75, 0.55], one_day=True))
    assert judged.since == "2026-05-01" and not judged.from_first_look
    assert judged.change.value < -0.15


def test_better_is_no_alarm(tmp_path):
    assert judge(looks_of(tmp_path, [0.9] * 3)).standing is Standing.AS_BEFORE


def test_few_calls_or_a_small_reference_are_too_little(tmp_path):
    assert judge(looks_of(tmp_path, [0.75], calls=60)).standing is Standing.TOO_LITTLE_DATA
    assert judge(looks_of(tmp_path, [0.75] * 2, calls=60)).standing is Standing.AS_BEFORE
    assert judge(looks_of(tmp_path, [0.75] * 2, reference=20)).standing is Standing.TOO_LITTLE_DATA
    assert judge(looks_of(tmp_path, [])) is None


def test_a_look_that_is_worse_without_evidence_enough_is_not_called_as_before(tmp_path):
    judged = judge(looks_of(tmp_path, [0.75] * 8 + [0.68], calls=100))
    assert judged.change.high < 0 and judged.evidence < judged.needed
    assert judged.standing is Standing.TOO_LITTLE_DATA


def test_a_drop_that_no_chance_explains_is_seen_from_few_calls(tmp_path):
    assert judge(looks_of(tmp_path, [0.2], calls=20)).standing is Standing.WORSE


def test_a_long_course_is_told_in_part_and_decides_as_a_whole(tmp_path):
    past = looks_of(tmp_path, [0.75] * 3 + [0.65] * (TOLD + 10), calls=20, days=False)
    judged = judge(past)
    assert len(judged.course) == TOLD and judged.course[-1].number == TOLD + 13
    assert judged.standing is Standing.WORSE and judged.calls == 20 * (TOLD + 13)


def test_the_difference_of_two_means_by_hand():
    generator = np.random.default_rng(0)
    first, second = generator.normal(0.5, 0.2, 300), generator.normal(0.6, 0.3, 500)
    found = difference(first, second)
    error = 1.96 * np.sqrt(first.var() / 300 + second.var() / 500)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert (found.high - found.low) / 2 == pytest.approx(error, rel=0.1)
