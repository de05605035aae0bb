"""No change is called one more often than stated, and a drop is seen for a stated number of teacher calls."""

import numpy as np
import pytest
from scipy import stats

from alignkit.watching.e_process import ALPHA, SIZES, changed_at, course_of, normal_scores


def overlaps(generator, count, drop=0.0, mean=0.76, spread=0.18):
    """Shares of ten, as heads have them: by query as uneven as on the demo pack, each hit lost with one probability."""
    both = mean * (1 - mean) / spread**2 - 1
    shares = generator.beta(mean * both, (1 - mean) * both, count)
    kept = generator.binomial(generator.binomial(10, shares), 1 - drop / mean) / 10
    return kept + 1e-3 * generator.random(count)


def test_ranks_are_independent_normal_scores_even_with_ties_and_a_small_reference():
    generator = np.random.default_rng(0)
    found = []
    for number in range(400):
        before = np.round(generator.random(30), 1)
        looks = []
        for look in range(2):
            new = np.round(generator.random(10), 1)
            looks.append(normal_scores(new, before, [number, look]))
            before = np.concatenate([before, new])
        found.append(np.concatenate(looks))
    found = np.array(found)
    assert stats.kstest(found.ravel(), "norm").pvalue > 0.01
    correlations = np.corrcoef(found.T)[np.triu_indices(20, 1)]
    assert np.abs(correlations).max() < 0.2  # 1 / sqrt(400) is .05


def test_the_evidence_is_the_mixture_that_it_says():
    looks = [np.array([-0.5, -1.0]), np.array([-1.5])]

    def mixed(scores):
        ratios = [stats.norm.pdf(scores, loc=-size).prod() / stats.norm.pdf(scores).prod() for size in SIZES]
        return np.mean(ratios)

    both = np.concatenate(looks)
    expected = [mixed(looks[0]) / 2 + 1 / 2, mixed(both) / 2 + mixed(looks[1]) / 6 + 1 / 3]
    np.testing.assert_allclose(np.exp(course_of(looks).log_e), expected, rtol=1e-9)


def test_no_look_is_nothing_and_a_look_without_figures_changes_nothing():
    assert not course_of([]).worse
    assert course_of([np.empty(0)]).log_e == pytest.approx([0.0], abs=1e-12)


def test_a_thousand_looks_without_a_change_raise_a_false_alarm_in_at_most_one_of_twenty():
    generator = np.random.default_rng(0)
    alarms, courses = 0, 60
    for _ in range(courses):
        alarms += bool((course_of(generator.standard_normal((1000, 20))).log_e >= -np.log(ALPHA)).any())
    assert alarms <= ALPHA * courses


def test_ranks_against_a_small_reference_raise_no_more_false_alarms():
    """From queries to evidence: a reference of 60 that happens to be good does not look like a drop."""
    alarms, courses = 0, 40
    for number in range(courses):
        generator = np.random.default_rng(number)
        before, looks = overlaps(generator, 60), []
        for look in range(40):
            new = overlaps(generator, 20)
            looks.append(normal_scores(new, before, [number, look]))
            before = np.concatenate([before, new])
        alarms += bool((course_of(looks).log_e >= -np.log(ALPHA)).any())
    assert alarms <= ALPHA * courses


@pytest.mark.parametrize("quiet", [0, 20])
def test_a_drop_by_a_twentieth_takes_at_most_400_calls(quiet):
    """Median of the calls from the change on, at once or after 20 looks of 20 queries without one."""
    calls = []
    for number in range(9):
        generator = np.random.default_rng(number)
        before, looks = overlaps(generator, 600), []
        for look in range(quiet + 40):
            new = overlaps(generator, 20, drop=0.05 if look >= quiet else 0.0)
            looks.append(normal_scores(new, before, [number, look]))
            before = np.concatenate([before, new])
            if look >= quiet and course_of(looks).worse:
                break
        calls.append(20 * (look + 1 - quiet))
    assert np.median(calls) <= 400


def test_the_change_is_dated():
    generator = np.random.default_rng(0)
    scores = np.concatenate([generator.standard_normal(500), generator.standard_normal(100) - 1])
    assert abs(changed_at(scores, np.arange(600)) - 500) < 10
    assert changed_at(scores, np.arange(0, 600, 100)) == 500
