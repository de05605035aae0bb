"""Which loss and which recipe a head is fitted with."""

import numpy as np
import pytest

from alignkit.estimator.plan import fitter_of
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.losses.info_nce import InfoNceLoss
from alignkit.losses.mix import MixLoss
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import RowIds
from alignkit.parts import settings_of_command, settings_of_part
from alignkit.selection import choose
from alignkit.selection.averages import members_of


def planned(model, loss="auto", **changes):
    settings = settings_of_command("train") | {"loss": settings_of_part("loss", loss, 0), "device": {"name": "cpu"}}
    return fitter_of(settings | changes, settings_of_part("model", model, 0), None)


@pytest.mark.parametrize(
    ("model", "loss", "taken"),
    [("linear", "auto", CosMseLoss), ("mlp", "auto", MixLoss),
     ("mlp", "info_nce", InfoNceLoss), ("mlp", "cos_mse", CosMseLoss)],
)  # fmt: skip
def test_a_loss_nobody_named_is_the_one_that_the_head_is_best_trained_with(model, loss, taken):
    assert type(planned(model, loss).loss) is taken


@pytest.mark.parametrize("loss", ["auto", "rank_kl", "info_nce"])
def test_a_perceptron_keeps_its_own_steps_whatever_the_loss(loss):
    """Steps for fine-tuning a closed form, which rank_kl brings along, would leave it where it starts."""
    recipe = planned("mlp", loss).recipe
    assert (recipe.lr, recipe.batch_size, recipe.max_epochs, recipe.schedule) == (4e-3, 256, 16, "one_cycle")
    assert recipe.select_by == "val/overlap@10"


def test_the_command_line_has_the_last_word():
    recipe = planned("mlp", lr=1e-4, batch_size=32, select_by="val/loss").recipe
    assert (recipe.lr, recipe.batch_size, recipe.select_by) == (1e-4, 32, "val/loss")


@pytest.mark.parametrize(
    ("model", "solved"), [("linear", True), ("kernel", True), ("random_features", True), ("mlp", False)]
)
def test_which_heads_need_no_training(model, solved):
    assert planned(model).is_solved is solved


def test_of_many_pairs_a_perceptron_sees_fewer_epochs_and_less_noise_unless_somebody_says_how_many():
    recipe = planned("mlp").recipe
    assert [recipe.for_pairs(count).max_epochs for count in (300, 18_200, 48_000, 10**6)] == [16, 16, 6, 3]
    noise = [recipe.for_pairs(count).noise for count in (900, 18_200, 400_000)]
    assert noise == sorted(noise, reverse=True) and 0.2 < noise[0] < 0.3 and 0.02 < noise[2] < 0.05
    trainer = settings_of_command("train")["trainer"] | {"max_epochs": 20}
    assert planned("mlp", trainer=trainer).recipe.for_pairs(10**6).max_epochs == 20


@pytest.mark.parametrize("count", [900, 18_200, 120_000])
def test_autos_budget_suffices_for_all_its_candidates_on_two_cores(count, monkeypatch):
    monkeypatch.setattr(choose, "_flops_per_s", lambda device: 8e10)  # half of what two cores multiply
    auto = settings_of_part("model", "auto", 0)
    vectors = np.broadcast_to(np.float32(0.05), (count, 384))
    pairs = Pairs(RowIds(np.arange(count)), vectors, vectors)
    candidates, splits = {name: planned(name) for name in auto["candidates"]}, PairSplits(pairs, pairs, pairs)
    averages = members_of(candidates, splits)
    assert set(averages) == {"kernel_mlp"}  # put together from the others, at no fit of its own
    plans = choose._plans(candidates, splits)
    assert sum(plan.expected_s for plan in plans if plan.name not in averages) < auto["budget_s"]
