"""A loss that nothing can be learned from is refused, whatever the reason."""

from dataclasses import replace

import numpy as np
import pytest

from alignkit.errors import ConfigError
from alignkit.heads.linear import LinearHead
from alignkit.heads.orthogonal import OrthogonalHead
from alignkit.losses.cosine import CosineLoss
from alignkit.losses.info_nce import InfoNceLoss
from alignkit.losses.matryoshka import MatryoshkaLoss
from alignkit.losses.mix import MixLoss
from alignkit.losses.rank_kl import RankKlLoss
from alignkit.losses.relational import RelationalLoss
from alignkit.training.device import Device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe


def fitter(loss, batch_size=32, **settings):
    recipe = Recipe(**{"batch_size": batch_size, "max_epochs": 2, **settings.pop("recipe", {})})
    return Fitter(LinearHead, loss, recipe, Device("cpu", "32-true", "for the tests"), **settings)


def with_negatives(splits, rows):
    """`rows` of the training split have the next row as hard negative, no others have any."""
    negatives = np.full((len(splits.train), 2), -1)
    negatives[rows, 0] = (np.array(rows) + 1) % len(splits.train)
    return replace(splits, train=replace(splits.train, negatives=negatives))


@pytest.mark.parametrize(
    ("loss", "batch_size"),
    [
        (InfoNceLoss(), 1),
        (RelationalLoss(), 1),
        (RankKlLoss(cosine_weight=0), 1),
        (MixLoss({"a": InfoNceLoss(), "b": RelationalLoss()}, {"a": 1, "b": 1}), 1),
        (MatryoshkaLoss(InfoNceLoss(), [1.0, 0.5]), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_batches_of_one_have_nothing_to_compare(splits, loss, batch_size):
    with pytest.raises(ConfigError, match=r"loss=\w+: it has no gradient on batches of 1 .*take batch_size=64"):
        fitter(loss, batch_size).check(splits)
    fitter(loss, 3).check(splits)
    fitter(loss, 1, trainer_settings={"devices": 3, "strategy": "ddp"}).check(splits)  # three together


def test_hard_negatives_that_are_all_padding_are_none(splits):
    loss = InfoNceLoss(in_batch=False)
    with pytest.raises(ConfigError, match="loss=info_nce: it has no gradient on batches of 32 of these pairs"):
        fitter(loss).check(with_negatives(splits, []))
    fitter(loss).check(with_negatives(splits, [250]))  # one is enough to learn from


def test_teachers_that_are_all_alike_cannot_be_told_apart(splits):
    same = np.tile(splits.train.teacher[:1], (len(splits.train), 1))
    alike = replace(splits, train=replace(splits.train, teacher=same))
    with pytest.raises(ConfigError, match="nothing would be learned; take another loss, or pairs that differ"):
        fitter(InfoNceLoss()).check(alike)
    fitter(CosineLoss()).check(alike)


def test_a_bank_makes_up_for_a_batch_of_one(splits):
    fitter(InfoNceLoss(bank_size=50), 1).check(splits)
    fitter(InfoNceLoss(bank_size=50, in_batch=False)).check(splits)


def test_what_is_not_trained_with_needs_no_gradient(splits):
    fitter(InfoNceLoss(), 1, recipe={"max_epochs": 0}).check(splits)
    job = fitter(InfoNceLoss(in_batch=False), recipe={"max_epochs": 0})
    assert job.fit(with_negatives(splits, [])).epochs == 0
    assert replace(job, make_head=OrthogonalHead, init="closed_form").fit(with_negatives(splits, [])).epochs == 0


def test_hard_negatives_reach_the_second_fit_also_where_validation_has_none(splits):
    seen = []

    class Watched(InfoNceLoss):
        def forward(self, aligned, teacher, negatives=None):
            seen.append((aligned.requires_grad, None if negatives is None else bool(negatives.any())))
            return super().forward(aligned, teacher, negatives)

    loss = Watched(in_batch=False)
    result = fitter(loss, recipe={"lr": 1e-2}).fit(with_negatives(splits, range(300)), refit=True)
    assert result.refitted and result.best_epoch > 0
    training = [any_negative for trained, any_negative in seen if trained]
    # 300 pairs twice, then all 360 as often as was best; two or so batches may be of validation pairs alone
    assert len(training) == 2 * 10 + result.best_epoch * 12 and training.count(True) >= len(training) - 2
