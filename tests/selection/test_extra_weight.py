"""How much pairs from elsewhere count: what helps on held-out own texts, and nothing where it does not."""

import numpy as np
import pytest

from alignkit.heads.linear import LinearHead
from alignkit.losses.cosine import CosineLoss
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.extra import extra_pairs, with_extra
from alignkit.selection.extra_weight import choose_extra_weight
from alignkit.selection.judged_parts import folds_of, held_out
from alignkit.training.device import choose_device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe

FITTER = Fitter(LinearHead, CosineLoss(), Recipe(), choose_device("cpu", "32-true"), init="closed_form")
MIXING = np.random.default_rng(99).standard_normal((24, 16))


def pairs_of(count, seed, sign=1.0, shift=0.0):
    generator = np.random.default_rng(seed)
    student = generator.standard_normal((count, 24)) + shift
    teacher = sign * (student - shift) @ MIXING + 2 * generator.standard_normal((count, 16))
    return Pairs([f"{seed}-{row}" for row in range(count)], student.astype(np.float32), teacher.astype(np.float32))


def own_splits(train, validation=100):
    return PairSplits(pairs_of(train, 1), pairs_of(validation, 2), pairs_of(100, 3))


def elsewhere(own, **settings):
    return extra_pairs(own, PairSplits(*(pairs_of(300, seed, **settings) for seed in (4, 5, 6))))


def test_extra_pairs_that_help_are_taken():
    own = own_splits(40)
    choice = choose_extra_weight(FITTER, own, elsewhere(own))
    assert choice.weight > 0
    best = max(choice.tried, key=lambda one: one.quality)
    assert best.weight == choice.weight and best.gain > 2 * best.error
    assert "the 900 bring +" in choice.reason and "on 100 held-out own texts" in choice.reason


@pytest.mark.parametrize("settings", [{"sign": -1.0}, {"shift": 3.0}])
def test_extra_pairs_that_say_otherwise_never_make_it_worse(settings):
    own = own_splits(300)
    choice = choose_extra_weight(FITTER, own, elsewhere(own, **settings))
    chosen = next(one for one in choice.tried if one.weight == choice.weight)
    assert chosen.quality >= choice.tried[0].quality
    if settings.get("sign"):
        assert choice.weight == 0
        assert choice.reason.startswith("the 900 extra pairs are left out, since they bring nothing")


def test_few_held_out_texts_are_joined_by_parts_of_the_own_training_pairs():
    own = own_splits(50, validation=10)
    choice = choose_extra_weight(FITTER, own, elsewhere(own))
    assert "on 60 held-out own texts" in choice.reason


def test_heads_are_never_judged_on_extra_pairs():
    own = own_splits(50, validation=10)
    both = with_extra(own, elsewhere(own), 0.5)
    inner, _ = held_out(both, 0, clusters=True)
    judged = [inner.validation, *(left_out for _, left_out in folds_of(both, 0))]
    assert all(name.startswith("1-") for part in judged for name in part.ids)
    assert all((part.weights is None) or (part.weights == 1).all() for part in judged)
    assert {len(fitted.train) for fitted, _ in folds_of(both, 0)} == {940}
    assert len(inner.train) == 945


def test_openings_of_own_documents_do_not_raise_what_extra_pairs_count():
    own = own_splits(60)
    openings = Pairs([f"{row}" for row in range(60)], pairs_of(60, 7).student, own.train.teacher)
    tried = choose_extra_weight(FITTER, with_extra(own, openings, 0.2), elsewhere(own)).tried
    assert [one.weight for one in tried] == [
        one.weight for one in choose_extra_weight(FITTER, own, elsewhere(own)).tried
    ]
