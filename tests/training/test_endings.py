"""However training ends, its last state is validated before it is thrown away, and the report says why it ended."""

import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch

from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.pairs.views import join_pairs
from alignkit.reporting.training_words import kept_words
from alignkit.training.best import KeepBest
from alignkit.training.device import Device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe

CPU = Device("cpu", "32-true", "for the tests")


def fitter(trainer=None, *, make_head=LinearHead, init="random", loss=None, run_folder=None, seed=0, **recipe):
    recipe = Recipe(**{"max_epochs": 4, "batch_size": 32, "lr": 1e-2, **recipe})  # 300 pairs: ten batches an epoch
    return Fitter(make_head, loss or CosMseLoss(), recipe, CPU, init, seed, run_folder, trainer or {})


def words(result):
    return kept_words(result.best_epoch, result.epochs, result.ended)


@pytest.mark.parametrize(
    ("trainer", "epochs", "ended"),
    [
        ({"max_steps": 4}, 0.4, "trainer.max_steps=4"),
        ({"max_steps": 14}, 1.4, "trainer.max_steps=14"),
        ({"max_steps": 3, "accumulate_grad_batches": 2}, 0.6, "trainer.max_steps=3"),
        ({"check_val_every_n_epoch": 3}, 4, None),
        ({"check_val_every_n_epoch": 99}, 4, None),
        ({"val_check_interval": 0.3}, 4, None),
        ({"val_check_interval": 7}, 4, None),
        ({"val_check_interval": 23, "check_val_every_n_epoch": None}, 4, None),
        ({"limit_train_batches": 3}, 4, None),
        ({"limit_train_batches": 0.35}, 4, None),
        ({"limit_val_batches": 1}, 4, None),
        ({"num_sanity_val_steps": 1, "max_steps": 4}, 0.4, "trainer.max_steps=4"),
        ({"log_every_n_steps": 0}, 4, None),
    ],
    ids=str,
)
def test_the_last_state_is_a_candidate_however_training_ends(splits, trainer, epochs, ended):
    """Steps that all help: the last state is the best one."""
    start = fitter(max_epochs=0).fit(splits)
    job = fitter(trainer)
    job.check(splits)
    result = job.fit(splits)
    assert result.epochs == pytest.approx(epochs) and result.ended == ended
    assert result.best_epoch == result.epochs
    assert result.figures["val/loss"] < start.figures["val/loss"]
    said = words(result)
    assert ("training ended after" in said) == (ended is not None) and (ended or "") in said


def test_time_that_is_over_keeps_what_was_trained(splits):
    class Slow(CosMseLoss):
        def forward(self, aligned, teacher, negatives=None):
            if aligned.requires_grad:
                import time

                time.sleep(0.1)
            return super().forward(aligned, teacher, negatives)

    result = fitter({"max_time": {"seconds": 1}}, loss=Slow(), max_epochs=500).fit(splits)
    assert 0 < result.epochs < 5 and result.best_epoch == result.epochs
    assert result.ended == "trainer.max_time was over, which depends on the machine"
    assert "trainer.max_time was over" in words(result)


def test_a_few_steps_end_where_the_same_steps_of_a_longer_run_are(splits):
    """Ten batches make an epoch: ten steps of max_steps are one epoch of a run of one."""
    by_steps, by_epochs = fitter({"max_steps": 10}).fit(splits), fitter(max_epochs=1).fit(splits)
    assert torch.equal(by_steps.head.projection.weight, by_epochs.head.projection.weight)
    assert by_steps.figures == by_epochs.figures and by_steps.best_epoch == 1


def test_a_refit_takes_as_many_epochs_as_were_kept_parts_of_one_too(splits):
    steps = []

    class Counted(CosMseLoss):
        def forward(self, aligned, teacher, negatives=None):
            steps.append(aligned.requires_grad)
            return super().forward(aligned, teacher, negatives)

    trainer = {"max_steps": 14, "max_time": "00:01:00:00", "val_check_interval": 10, "min_epochs": 1}
    result = fitter(trainer, loss=Counted(), batch_size=30).fit(splits, refit=True)
    assert result.refitted and result.best_epoch == pytest.approx(1.4)
    # 300 pairs: 14 of 10 batches an epoch; 360 pairs: 1.4 times 12, of which max_steps lets 14 be
    assert sum(steps) == 14 + 14
    joined = replace(splits, train=join_pairs(splits.train, splits.validation))
    again = fitter({"max_steps": 14}, batch_size=30).fit(joined, refit=False)
    assert torch.equal(result.head.projection.weight, again.head.projection.weight)


def test_a_run_that_was_cut_off_after_its_last_step_is_validated_when_resumed(splits, tmp_path, monkeypatch):
    job = partial(fitter, {"max_steps": 14}, run_folder=tmp_path)
    whole = fitter({"max_steps": 14}).fit(splits)

    def killed(*given):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KeepBest, "note_end", killed)
        own = KeepBest.on_validation_end
        patched.setattr(
            KeepBest,
            "on_validation_end",
            lambda self, trainer, module: killed() if self.batches == 14 else own(self, trainer, module),
        )
        with pytest.raises(KeyboardInterrupt):
            job().fit(splits)
    resumed = job().fit(splits, resume=True)
    assert resumed.best_epoch == whole.best_epoch == pytest.approx(1.4) and resumed.figures == whole.figures
    assert torch.equal(resumed.head.projection.weight, whole.head.projection.weight)


def test_patience_counts_epochs_also_between_validations(splits):
    result = fitter({"val_check_interval": 0.5}, lr=30.0, max_epochs=50, early_stop_patience=2).fit(splits, refit=False)
    assert result.epochs - result.best_epoch == pytest.approx(2)
    assert result.ended == "no better val/loss in 2 epochs"


class Exploding(CosMseLoss):
    """Has a gradient that ruins everything after eleven steps."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, aligned, teacher, negatives=None):
        self.steps += aligned.requires_grad
        value = super().forward(aligned, teacher, negatives)
        return value * float("nan") if aligned.requires_grad and self.steps > 11 else value


def test_a_loss_that_goes_astray_is_named_and_the_best_state_before_is_kept(splits, caplog):
    result = fitter(loss=Exploding(), max_epochs=30).fit(splits)
    assert result.best_epoch == 1 and result.epochs == 2
    assert "training went astray: after 2 epochs" in caplog.text and "smaller lr" in caplog.text
    assert "training ended after 2 epochs: the loss on validation was not finite any more" in words(result)
    assert all(tensor.isfinite().all() for tensor in result.head.state_dict().values())


def test_a_second_fit_that_goes_astray_does_not_replace_the_first(splits, caplog):
    class Later(CosMseLoss):
        steps = 0

        def forward(self, aligned, teacher, negatives=None):
            Later.steps += aligned.requires_grad
            return super().forward(aligned, teacher, negatives) * (float("nan") if Later.steps > 45 else 1)

    result = fitter(loss=Later()).fit(splits, refit=True)  # 40 steps, then the second fit
    assert not result.refitted and "the head of the first is kept" in caplog.text
    assert torch.equal(result.head.projection.weight, fitter().fit(splits).head.projection.weight)


def test_a_figure_that_is_never_defined_is_named(splits, caplog):
    few = {"limit_val_batches": 1}
    constant = replace(splits.validation, teacher=splits.validation.teacher[:1].repeat(60, axis=0))
    result = fitter(few, select_by="val/spearman").fit(replace(splits, validation=constant))
    assert result.best_epoch == 0 and "val/spearman was undefined at every validation" in caplog.text
    assert "val/spearman was undefined at every validation" in words(result)


@pytest.mark.parametrize("precision", ["64-true", "16-true", "bf16-true", "bf16-mixed", "16-mixed"])
def test_whatever_it_was_trained_in_a_head_is_kept_in_float32(splits, precision):
    job = fitter(make_head=partial(MlpHead, hidden=16), max_epochs=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Lightning's, of float16 on a CPU
        result = replace(job, device=Device("cpu", precision, "for the tests")).fit(splits)
    assert {tensor.dtype for tensor in result.head.state_dict().values()} == {torch.float32}


def test_words_for_each_ending():
    def said(best, epochs, ended=None):
        return kept_words(best, epochs, ended)

    assert said(0, 0) == "the starting point, untrained"
    assert said(0, 5) == "the starting point: training did not improve on it"
    assert said(3, 5) == "epoch 3"
    assert said(0.4, 0.4, "trainer.max_steps=4") == (
        "the state after 0.4 epochs; training ended after 0.4 epochs: trainer.max_steps=4"
    )
