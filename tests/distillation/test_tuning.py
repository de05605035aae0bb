"""A student that is trained with its head: what moves, what is kept, and what is never looked at."""

import copy
import functools
import logging
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from alignkit.distillation import tuning
from alignkit.distillation.improvement import gain_over, in_words, is_sure
from alignkit.distillation.table_student import TableStudent
from alignkit.distillation.trainable import trainable
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.distillation.tuning import Tuned, tune
from alignkit.embedders.sentence_transformer import SentenceTransformerEmbedder
from alignkit.errors import AlignkitError, ConfigError, DataError
from alignkit.heads.linear import LinearHead
from alignkit.losses.cosine import CosineLoss
from alignkit.losses.rank_kl import RankKlLoss
from alignkit.pairs.base import PairSplits
from alignkit.training.device import Device
from alignkit.training.recipe import Recipe
from alignkit.training.solver_batches import SolverBatches

CPU = Device("cpu", "32-true", "for the tests")
RECIPE = Recipe(batch_size=32, max_epochs=4, lr=1e-2, schedule="one_cycle", gradient_clip_val=1.0,
                select_by="val/cosine_mean")  # fmt: skip


def solved(splits):
    head = LinearHead(splits.train.student_dim, splits.train.teacher_dim)
    device = torch.device("cpu")
    head.solve(SolverBatches(splits.train, device=device), SolverBatches(splits.validation, device=device))
    return head.eval().requires_grad_(False)


def tuned(embedder, splits, *, head=None, loss=None, run_folder=None, resume=False, seed=0, trainer=None,
          student_lr=None, **recipe):  # fmt: skip
    student, head = trainable(embedder), head or solved(splits)
    student_lr = student_lr or (3e-2 if isinstance(student, TableStudent) else 1e-2)
    result = tune(
        student, head, splits, loss=loss or CosineLoss(), recipe=replace(RECIPE, **recipe), device=CPU, seed=seed,
        run_folder=run_folder, resume=resume, trainer_settings=trainer, student_lr=student_lr,
    )  # fmt: skip
    return student, result


def cosine(student, head, pairs):
    tokens = student.tokenize(pairs.texts)
    with torch.no_grad():
        aligned = head(student(tokens.batch(np.arange(len(pairs)), torch.device("cpu"))))
    return float(torch.nn.functional.cosine_similarity(aligned, torch.from_numpy(pairs.teacher)).mean())


def changed(student, other):
    """Names of the weights that differ."""
    return {name for name, value in student.state_dict().items() if not torch.equal(value, other.state_dict()[name])}


@dataclass(frozen=True)
class Trained:
    """A student that was trained as usual, and what it was trained from."""

    embedder: SentenceTransformerEmbedder
    splits: PairSplits
    head: LinearHead
    student: TrainableStudent
    result: Tuned


@pytest.fixture(scope="module")
def trained_from(students, make_splits):
    """Trains once for all who only look at the outcome."""

    @functools.cache
    def make(kind):
        embedder = SentenceTransformerEmbedder(str(students[kind]), device="cpu")
        splits = make_splits(embedder)
        head = solved(splits)
        return Trained(embedder, splits, copy.deepcopy(head), *tuned(embedder, splits, head=head))

    return make


@pytest.fixture(params=["table", "transformer"])
def trained(request, trained_from):
    return trained_from(request.param)


def test_the_students_own_weights_move_and_pay(trained):
    student, result, splits, start = trained.student, trained.result, trained.splits, trainable(trained.embedder)
    moved = changed(student, start)
    assert any("embedding" in name for name in moved) and (len(moved) > 10 or "log_weights" in moved)
    assert changed(result.head, trained.head) == {"projection.weight", "projection.bias"}
    assert result.improved and result.best_epoch > 0, result.reason
    assert cosine(student, result.head, splits.test) > cosine(start, trained.head, splits.test) + 0.05
    assert result.gain.low > 0 and result.texts_per_s > 0


def test_the_figures_are_those_of_the_student_and_the_head_that_are_left(trained):
    student, result, splits = trained.student, trained.result, trained.splits
    assert result.figures["val/cosine_mean"] == pytest.approx(cosine(student, result.head, splits.validation), abs=1e-5)
    assert result.figures["val/cosine_mean"] > result.start_figures["val/cosine_mean"]


def test_the_kept_state_is_the_best_one(table, make_splits):
    """A rate that ruins the last epochs: what is left is the best epoch, not the last."""
    splits = make_splits(table)
    seen = []

    class Watched(tuning.KeepBest):
        def on_validation_end(self, trainer, pl_module):
            super().on_validation_end(trainer, pl_module)
            seen.append(float(trainer.callback_metrics["val/cosine_mean"]))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tuning, "KeepBest", Watched)
        student, result = tuned(table, splits, max_epochs=8, schedule="constant", student_lr=0.5, lr=0.2)
    assert max(seen) > seen[-1] + 1e-3, "the rate has to ruin something"
    assert cosine(student, result.head, splits.validation) == pytest.approx(max(seen), abs=1e-5)


def test_a_start_that_nothing_beats_is_kept_to_the_bit(embedder, make_splits):
    splits = make_splits(embedder)
    head = solved(splits)
    start = trainable(embedder), copy.deepcopy(head)
    student, result = tuned(embedder, splits, head=head, lr=30.0, student_lr=30.0, max_epochs=2)
    assert not result.improved and result.best_epoch == 0 and "start is kept" in result.reason
    assert not changed(student, start[0]) and not changed(result.head, start[1])
    assert result.figures == result.start_figures


def test_a_gain_that_is_too_little_is_not_kept(table, make_splits):
    splits = make_splits(table)
    student, result = tuned(table, splits, student_lr=1e-7, lr=1e-7, max_epochs=1)
    assert not result.improved and not changed(student, trainable(table))
    assert "too little to matter, so the start is kept" in result.reason


@pytest.mark.parametrize(("texts", "is_kept"), [(12, False), (2_000, True)])
def test_a_gain_that_may_be_chance_is_none(texts, is_kept):
    """The same gain on average, a different one on each text."""
    start = np.random.default_rng(0).normal(0.5, 0.2, size=texts)
    noise = np.random.default_rng(1).normal(size=texts)
    gain = gain_over(start, start + 0.02 + 0.1 * (noise - noise.mean()), seed=0)
    assert gain.value == pytest.approx(0.02) and is_sure(gain) == is_kept
    assert ("may be chance, so the start is kept" in in_words(gain, "val/cosine_mean", None)) == (not is_kept)


def test_the_test_split_is_never_looked_at(trained_from):
    whole = trained_from("table")
    splits = whole.splits
    nothing = np.full_like(splits.test.teacher, np.nan)
    hidden = replace(splits, test=replace(splits.test, teacher=nothing, texts=["?"] * len(splits.test)))
    student, _ = tuned(whole.embedder, hidden)
    assert not changed(student, whole.student)


def test_swapped_pairs_are_not_learnt(trained_from):
    right = trained_from("table")
    splits = right.splits
    swapped = replace(splits, train=replace(splits.train, teacher=np.roll(splits.train.teacher, 1, axis=0)))
    wrong, other = tuned(right.embedder, swapped)
    assert cosine(right.student, right.result.head, splits.test) > cosine(wrong, other.head, splits.test) + 0.1


def test_what_is_saved_is_the_student_that_was_trained(trained, tmp_path):
    student, splits, embedder = trained.student, trained.splits, trained.embedder
    student.save(tmp_path / "student")
    again = SentenceTransformerEmbedder(str(tmp_path / "student"), device="cpu")
    tokens = student.tokenize(splits.test.texts)
    with torch.no_grad():
        expected = student(tokens.batch(np.arange(len(splits.test)), torch.device("cpu"))).numpy()
    for batch in again.embed(splits.test.texts):
        assert np.allclose(batch.vectors, expected[batch.indices], atol=1e-5)
    assert not np.allclose(splits.test.student, expected, atol=1e-2)
    assert again.identity()["digest"] != embedder.identity()["digest"]


@pytest.mark.parametrize(("kind", "loss"), [("table", RankKlLoss), ("transformer", CosineLoss)])
def test_a_resumed_run_ends_as_an_uninterrupted_one(students, make_splits, tmp_path, kind, loss):
    embedder = SentenceTransformerEmbedder(str(students[kind]), device="cpu")
    splits = make_splits(embedder)
    train = functools.partial(tuned, embedder, splits, max_epochs=3)
    whole, expected = train(run_folder=tmp_path / "whole", loss=loss())

    steps = []

    class Interrupted(loss):
        def forward(self, *given):
            steps.extend([True] * torch.is_grad_enabled())
            if len(steps) == 18:  # thirteen batches an epoch: within the second
                raise KeyboardInterrupt
            return super().forward(*given)

    with pytest.raises(KeyboardInterrupt):
        train(run_folder=tmp_path / "cut", loss=Interrupted())
    again, result = train(run_folder=tmp_path / "cut", loss=Interrupted(), resume=True)
    assert len(steps) < 18 + 3 * 13, "it went on from a checkpoint"
    assert not changed(whole, again)
    assert (result.figures, result.best_epoch) == (expected.figures, expected.best_epoch)


def test_the_same_seed_gives_the_same_student(embedder, make_splits):
    splits = make_splits(embedder)
    (first, _), (second, _), (third, _) = (tuned(embedder, splits, seed=seed, max_epochs=2) for seed in (3, 3, 4))
    assert not changed(first, second) and changed(first, third)


class NotFinite(CosineLoss):
    """A loss that is NaN from some training step on, so often."""

    def __init__(self, first, times):
        super().__init__()
        self.first, self.times, self.calls = first, times, 0

    def forward(self, aligned, teacher, negatives=None):
        loss = super().forward(aligned, teacher)
        if aligned.requires_grad:
            self.calls += 1
            if self.first <= self.calls < self.first + self.times:
                return loss * float("nan")
        return loss


def test_a_loss_that_is_not_finite_once_goes_back_and_lowers_the_rate(embedder, make_splits, caplog):
    splits = make_splits(embedder)
    student, result = tuned(embedder, splits, loss=NotFinite(14, 2), max_epochs=4)
    assert "the loss was not finite at step" in caplog.text and "0.3 of the rate" in caplog.text
    assert result.improved and result.best_epoch > 2, result.reason
    assert all(bool(value.isfinite().all()) for value in student.state_dict().values())


def test_a_loss_that_is_not_finite_again_ends_training_and_names_the_step(table, make_splits, caplog):
    splits = make_splits(table)
    student, result = tuned(table, splits, loss=NotFinite(27, 10**6), max_epochs=6)
    assert "not finite at step 52, again" in result.reason and "take a smaller lr" in caplog.text
    assert result.epochs == 4
    assert result.improved and all(bool(value.isfinite().all()) for value in student.state_dict().values())


def test_a_batch_too_large_for_the_memory_is_halved_once(table, make_splits, caplog, tmp_path):
    splits = make_splits(table)

    class Small(CosineLoss):
        def forward(self, aligned, teacher, negatives=None):
            if len(aligned) > 16 and aligned.requires_grad and len(aligned) != tuning.FEW_TEXTS:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().forward(aligned, teacher)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tuning, "check_loss", lambda *given, **named: None)  # which is no part of training
        student, result = tuned(table, splits, loss=Small(), run_folder=tmp_path, max_epochs=1)
        assert "a batch of 32 does not fit" in caplog.text and result.batch_size == 16
        expected, _ = tuned(table, splits, batch_size=16, max_epochs=1)
        assert not changed(student, expected)
        with pytest.raises(AlignkitError, match="a batch of 32 does not fit .* take batch_size=16"):
            tuned(table, splits, loss=Small(), batch_size=64)


def test_few_texts_are_warned_of(table, make_splits, caplog):
    with caplog.at_level(logging.WARNING):
        tuned(table, make_splits(table), max_epochs=0)
    assert "400 texts are few" in caplog.text


def test_nothing_is_trained_with_no_epochs(embedder, make_splits):
    splits = make_splits(embedder)
    student, result = tuned(embedder, splits, max_epochs=0)
    assert not changed(student, trainable(embedder)) and not result.improved
    assert result.figures["val/cosine_mean"] == pytest.approx(cosine(student, result.head, splits.validation), abs=1e-5)


def test_pairs_without_texts_are_refused(table, make_splits):
    splits = make_splits(table)
    with pytest.raises(DataError, match="data.path"):
        tuned(table, replace(splits, train=replace(splits.train, texts=None)))


def test_a_loss_of_hard_negatives_is_refused(table, make_splits):
    loss = CosineLoss()
    loss.needs_negatives = True
    with pytest.raises(ConfigError, match="hard negatives"):
        tuned(table, make_splits(table), loss=loss)
