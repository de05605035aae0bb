from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from needed import needed

from alignkit.errors import AlignkitError, ConfigError
from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.heads.low_rank import LowRankHead
from alignkit.heads.mlp import MlpHead
from alignkit.losses.cos_mse import CosMseLoss
from alignkit.losses.info_nce import InfoNceLoss
from alignkit.losses.matryoshka import MatryoshkaLoss
from alignkit.pairs.base import PairSplits
from alignkit.pairs.views import take_pairs
from alignkit.rounding import cpu_rounds_products
from alignkit.training import capacity, epochs, fit
from alignkit.training.best import KeepBest
from alignkit.training.device import Device
from alignkit.training.fit import Fitter
from alignkit.training.memory import return_large_blocks
from alignkit.training.recipe import Recipe
from alignkit.training.solver_batches import SolverBatches
from alignkit.vectors import l2_normalize

linear_model = needed("sklearn.linear_model")

CPU = Device("cpu", "32-true", "for the tests")


def fitter(make_head=LinearHead, *, init="closed_form", loss=None, **settings):
    recipe = Recipe(**{"max_epochs": 3, "batch_size": 32, **settings.pop("recipe", {})})
    return Fitter(make_head, loss or CosMseLoss(), recipe, CPU, init=init, **settings)


class Unsolved(Head):
    """A head without a closed form."""

    def __init__(self, student_dim, teacher_dim):
        super().__init__()
        self.layer = torch.nn.Linear(student_dim, teacher_dim)

    @classmethod
    def kind(cls):
        return "unsolved"

    def forward(self, student):
        return self.layer(student)


def cosine_to_teacher(head, pairs):
    aligned = head(torch.from_numpy(pairs.student))
    return float(torch.nn.functional.cosine_similarity(aligned, torch.from_numpy(pairs.teacher)).mean())


def same_weights(first, second):
    states = first.state_dict(), second.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_closed_form_alone_is_ridge_regression(splits):
    result = fitter(recipe={"max_epochs": 0}).fit(splits, refit=False)
    student = splits.train.student.astype(np.float64)
    scale = np.trace(np.cov(student.T, bias=True)) / student.shape[1] * len(student)
    expected = linear_model.Ridge(alpha=result.chosen["ridge_lambda"] * scale).fit(student, splits.train.teacher)
    assert np.allclose(result.head.projection.weight.numpy(), expected.coef_, atol=1e-5)
    assert result.best_epoch == 0 and not result.refitted


def test_training_that_does_not_improve_does_not_replace_the_closed_form(splits):
    start = fitter(recipe={"max_epochs": 0}).fit(splits, refit=False)
    result = fitter(recipe={"lr": 3.0}).fit(splits, refit=False)  # a step size that ruins anything
    assert result.best_epoch == 0
    assert same_weights(result.head, start.head)


def test_training_improves_a_random_start_and_the_best_epoch_is_kept(splits):
    start = fitter(init="random", recipe={"max_epochs": 0}).fit(splits)
    result = fitter(init="random", recipe={"lr": 1e-2, "max_epochs": 8}).fit(splits)
    assert result.best_epoch > 0
    assert cosine_to_teacher(result.head, splits.test) > cosine_to_teacher(start.head, splits.test) + 0.3
    assert result.figures["val/cosine_mean"] == pytest.approx(
        cosine_to_teacher(result.head, splits.validation), abs=1e-5
    )


@pytest.mark.parametrize("streamed", [True, False])
def test_memory_is_returned_where_pairs_are_streamed(splits, monkeypatch, streamed):
    asked = []
    monkeypatch.setattr(fit, "return_large_blocks", lambda: asked.append(True))
    monkeypatch.setattr(capacity, "IN_MEMORY_BYTES", 0 if streamed else 10**9)
    result = fitter().fit(splits)
    assert asked == [True] * streamed and cosine_to_teacher(result.head, splits.test) > 0.98
    return_large_blocks()  # does no harm, whatever the platform


def test_swapped_pairs_are_not_learnt(splits):
    swapped = replace(splits.train, teacher=np.roll(splits.train.teacher, 1, axis=0))
    result = fitter(recipe={"max_epochs": 0}).fit(PairSplits(swapped, splits.validation, splits.test))
    right = fitter(recipe={"max_epochs": 0}).fit(splits)
    assert cosine_to_teacher(right.head, splits.test) > 0.98 > cosine_to_teacher(result.head, splits.test) + 0.1


def test_the_test_split_is_never_looked_at(splits):
    poisoned = replace(splits.test, student=np.full_like(splits.test.student, np.nan))
    for settings in ({"init": "closed_form"}, {"init": "random"}):
        whole = fitter(**settings).fit(splits)
        blind = fitter(**settings).fit(PairSplits(splits.train, splits.validation, poisoned))
        assert same_weights(whole.head, blind.head)


def test_refit_solves_once_more_on_train_and_validation(splits):
    result = fitter(recipe={"max_epochs": 0}).fit(splits)
    assert result.refitted
    student = np.concatenate([splits.train.student, splits.validation.student]).astype(np.float64)
    teacher = np.concatenate([splits.train.teacher, splits.validation.teacher])
    scale = np.trace(np.cov(student.T, bias=True)) / student.shape[1] * len(student)
    expected = linear_model.Ridge(alpha=result.chosen["ridge_lambda"] * scale).fit(student, teacher)
    assert np.allclose(result.head.projection.weight.numpy(), expected.coef_, atol=1e-5)


@pytest.mark.parametrize("make_head", [LinearHead, LowRankHead])
def test_the_second_fit_adds_the_validation_pairs_and_does_not_read_the_training_pairs_again(
    splits, make_head, monkeypatch
):
    reads = []
    monkeypatch.setattr(fit, "SolverBatches", lambda *parts, device: reads.append(parts) or SolverBatches(
        *parts, device=device))  # fmt: skip
    result = fitter(make_head, recipe={"max_epochs": 0}).fit(splits)
    assert result.refitted
    assert reads[-1] == (splits.validation,)
    together = SolverBatches(splits.train, splits.validation, device=torch.device("cpu"))
    expected = make_head(splits.train.student_dim, splits.train.teacher_dim)
    expected.solve(together, chosen=dict(result.chosen))
    for name, weights in expected.state_dict().items():
        assert torch.allclose(result.head.state_dict()[name], weights, atol=1e-5), name
    assert np.allclose(result.teacher_mean.numpy(), splits.train.teacher.mean(axis=0), atol=1e-6)
    assert result.moments is None  # nobody asked to keep them


def test_refit_of_a_trained_head_trains_for_the_best_number_of_epochs_on_more_pairs(splits):
    settings = {"init": "random", "recipe": {"lr": 1e-2}}
    once, again = fitter(**settings).fit(splits), fitter(**settings).fit(splits, refit=True)
    assert again.refitted and again.best_epoch == once.best_epoch
    assert not same_weights(once.head, again.head)
    assert cosine_to_teacher(again.head, splits.test) > 0.8


def test_same_seed_same_head_and_zero_is_a_seed(splits):
    make_head = partial(MlpHead, hidden=16, dropout=0.2)
    heads = [fitter(make_head, init="random", seed=seed).fit(splits).head for seed in (0, 0, 1)]
    assert same_weights(heads[0], heads[1])
    assert not same_weights(heads[0], heads[2])


def test_a_random_start_sees_its_students_at_the_scale_of_its_layers(splits):
    result = fitter(partial(MlpHead, hidden=16), init="random", recipe={"max_epochs": 1}).fit(splits)
    student = l2_normalize(torch.from_numpy(splits.train.student))
    torch.testing.assert_close(result.head.standardise.mean, student.mean(0), rtol=0, atol=1e-5)
    assert float(result.head.standardise(student).square().mean()) == pytest.approx(1, rel=1e-3)


def test_each_layer_is_trained_at_its_own_rate(splits):
    seen = []

    class Watched(KeepBest):
        def on_train_batch_end(self, trainer, pl_module, *given, **named):
            super().on_train_batch_end(trainer, pl_module, *given, **named)
            seen.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    fitted = fitter(partial(MlpHead, hidden=16), recipe={"lr": 1e-3, "max_epochs": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs, "KeepBest", Watched)
        fitted.fit(splits, refit=False)
    rates = MlpHead(splits.train.student_dim, splits.train.teacher_dim, hidden=16).rates()
    assert sorted(seen[0]) == pytest.approx(sorted(1e-3 * rate for rate in rates.values()))


def test_enough_pairs_ends_the_schedule_earlier_and_the_second_fit_with_it(splits):
    count = len(splits.train)
    result = fitter(recipe={"max_epochs": 9, "enough_pairs": 4 * count}).fit(splits, refit=True)
    assert result.epochs == 4


@pytest.mark.parametrize(("schedule", "stop_after"), [("constant", 1), ("one_cycle", 2)])
def test_a_resumed_run_ends_as_an_uninterrupted_one(splits, tmp_path, stop_after, schedule):
    """With dropout, so that what is random is put to the test too."""
    settings = {"init": "random", "recipe": {"max_epochs": 4, "schedule": schedule}}
    make_head = partial(MlpHead, hidden=16, dropout=0.3)
    whole = fitter(make_head, **settings).fit(splits)

    class PullThePlug(CosMseLoss):
        steps = 0

        def forward(self, aligned, teacher, negatives=None):
            PullThePlug.steps += aligned.requires_grad
            if PullThePlug.steps > stop_after * 10 + 4:  # ten steps an epoch: in the middle of one
                raise KeyboardInterrupt
            return super().forward(aligned, teacher, negatives)

    job = fitter(make_head, run_folder=tmp_path, **settings)
    with pytest.raises(KeyboardInterrupt):
        replace(job, loss=PullThePlug()).fit(splits)
    resumed = job.fit(splits, resume=True)
    assert same_weights(whole.head, resumed.head)
    assert resumed.best_epoch == whole.best_epoch
    assert resumed.figures == whole.figures


BFLOAT16 = Device("cpu", "bf16-mixed", "for the tests")


def test_mixed_precision_trains_with_clipped_gradients(splits):
    recipe = {"gradient_clip_val": 1.0, "lr": 1e-2, "max_epochs": 8}
    result = replace(fitter(init="random", recipe=recipe), device=BFLOAT16).fit(splits, refit=False)
    assert result.head.projection.weight.dtype == torch.float32
    assert cosine_to_teacher(result.head, splits.test) > 0.8


def test_the_loss_works_in_float32_also_where_the_head_does_not(splits):
    seen = set()

    class Watched(CosMseLoss):
        def forward(self, aligned, teacher, negatives=None):
            seen.update([aligned.dtype, teacher.dtype, (aligned @ teacher.T).dtype])
            return super().forward(aligned, teacher, negatives)

    replace(fitter(), loss=Watched(), device=BFLOAT16).fit(splits)
    assert seen == {torch.float32}


ROUGH = replace(CPU, rough_products=True)


@pytest.mark.skipif(not cpu_rounds_products(), reason="this CPU does not multiply float32 in bfloat16")
def test_steps_multiply_in_bfloat16_and_validation_does_not(splits):
    rounded = {True: set(), False: set()}
    vectors = torch.randn(64, 128, generator=torch.Generator().manual_seed(0))
    exact = vectors @ vectors.T

    class Watched(CosMseLoss):
        def forward(self, aligned, teacher, negatives=None):
            rounded[aligned.requires_grad].add(not torch.equal(vectors @ vectors.T, exact))
            return super().forward(aligned, teacher, negatives)

    replace(fitter(), loss=Watched(), device=ROUGH).fit(splits, refit=False)
    assert rounded == {True: {True}, False: {False}}
    assert torch.allclose(vectors @ vectors.T, exact)


@pytest.mark.skipif(not cpu_rounds_products(), reason="this CPU does not multiply float32 in bfloat16")
def test_products_are_exact_again_after_a_step_that_failed(splits):
    class Failing(CosMseLoss):
        def forward(self, aligned, teacher, negatives=None):
            if aligned.requires_grad:
                raise RuntimeError("a step")
            return super().forward(aligned, teacher, negatives)

    before = torch.backends.mkldnn.matmul.fp32_precision
    with pytest.raises(RuntimeError, match="a step"):
        replace(fitter(), loss=Failing(), device=ROUGH).fit(splits)
    assert torch.backends.mkldnn.matmul.fp32_precision == before


class WatchedHead(LinearHead):
    """Keeps the students of steps and of validations apart."""

    seen: dict = {}

    def forward(self, student):
        if self.projection.weight.requires_grad:
            self.seen.setdefault(self.training, []).append(student.detach().clone())
        return super().forward(student)


@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_students_are_noisy_in_steps_alone_and_on_their_own_scale(splits, monkeypatch, scale):
    monkeypatch.setattr(WatchedHead, "seen", {})
    splits = replace(splits, train=replace(splits.train, student=splits.train.student * np.float32(scale)))
    known = torch.from_numpy(splits.train.student)
    recipe = {"max_epochs": 1, "noise": 0.03, "batch_size": len(known)}
    fitter(WatchedHead, init="random", recipe=recipe).fit(splits, refit=False)
    (given,) = WatchedHead.seen[True]
    rows = torch.cdist(given, known).argmin(dim=1)
    noise = given - known[rows]
    spread = known.var(dim=0, correction=0).mean().sqrt()
    strength = 0.03 * (10_000 / len(known)) ** (1 / 3)
    assert noise.std().item() == pytest.approx(strength * spread.item(), rel=0.05)
    held_out = torch.from_numpy(splits.validation.student)
    assert all(torch.isin(given, held_out).all() for given in WatchedHead.seen[False])


def test_a_resumed_run_remembers_the_bank_of_a_loss(splits, tmp_path):
    settings = {"init": "random", "recipe": {"max_epochs": 3, "lr": 1e-2}}
    make_head = partial(MlpHead, hidden=16)
    loss = InfoNceLoss(bank_size=100)
    whole = replace(fitter(make_head, **settings), loss=loss).fit(splits)

    class PullThePlug(InfoNceLoss):
        steps = 0

        def forward(self, aligned, teacher, negatives=None):
            PullThePlug.steps += aligned.requires_grad
            if PullThePlug.steps > 14:  # in the second epoch
                raise KeyboardInterrupt
            return super().forward(aligned, teacher, negatives)

    job = replace(fitter(make_head, run_folder=tmp_path, **settings), loss=loss)
    with pytest.raises(KeyboardInterrupt):
        replace(job, loss=PullThePlug(bank_size=100)).fit(splits)
    resumed = job.fit(splits, resume=True)
    assert same_weights(whole.head, resumed.head) and resumed.figures == whole.figures


def test_a_torn_checkpoint_falls_back_to_the_one_before(splits, tmp_path):
    settings = {"init": "random", "recipe": {"max_epochs": 3}, "run_folder": tmp_path}
    whole = fitter(**settings).fit(splits)
    newest = sorted((tmp_path / "checkpoints").glob("*.ckpt"))[-1]
    newest.write_bytes(newest.read_bytes()[:1000])
    assert same_weights(fitter(**settings).fit(splits, resume=True).head, whole.head)


def test_what_only_is_named_like_a_checkpoint_is_passed_over(splits, tmp_path):
    settings = {"init": "random", "recipe": {"max_epochs": 2}, "run_folder": tmp_path}
    whole = fitter(**settings).fit(splits)
    for number, content in enumerate(({"state_dict": {}}, [1, 2], torch.zeros(3))):
        torch.save(content, tmp_path / "checkpoints" / f"000{number + 7}.ckpt")
    assert same_weights(fitter(**settings).fit(splits, resume=True).head, whole.head)


@pytest.mark.parametrize("place", ["state_dict", "loops", "callbacks", "optimizer_states"])
def test_a_checkpoint_that_does_not_fit_the_run_is_one_line(splits, tmp_path, place):
    settings = {"init": "random", "recipe": {"max_epochs": 2}, "run_folder": tmp_path}
    fitter(**settings).fit(splits)
    newest = sorted((tmp_path / "checkpoints").glob("*.ckpt"))[-1]
    strange = {"strange": torch.zeros(2)}
    changed = {"callbacks": {"KeepBest": strange}, "optimizer_states": [strange, strange]}.get(place, strange)
    torch.save({**torch.load(newest, weights_only=True), place: changed}, newest)
    with pytest.raises(AlignkitError, match="does not fit this run's settings") as refused:
        fitter(**settings).fit(splits, resume=True)
    assert "\n" not in str(refused.value)


def test_early_stopping_ends_the_run_so_many_epochs_after_the_best(splits):
    steps = []

    class Counted(CosMseLoss):
        def forward(self, aligned, teacher, negatives=None):
            steps.append(aligned.requires_grad)
            return super().forward(aligned, teacher, negatives)

    job = fitter(recipe={"lr": 3.0, "max_epochs": 50, "early_stop_patience": 2})
    result = replace(job, loss=Counted()).fit(splits, refit=False)
    assert result.best_epoch == 0
    assert sum(steps) == 2 * 10  # two epochs of 300 pairs in batches of 32


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"make_head": Unsolved}, "the unsolved head has none; take model.init=random"),
        ({"init": "zeros"}, "model.init=zeros: expected closed_form or random"),
        ({"recipe": {"select_by": "val/nonesuch"}}, "expected one of val/loss, val/cosine_mean"),
        ({"recipe": {"lr": 0}}, "lr=0"),
        ({"recipe": {"batch_size": 0}}, "batch_size=0"),
        ({"recipe": {"schedule": "zigzag"}}, "expected constant or one_cycle"),
        ({"recipe": {"lr": "fast"}}, "lr=fast: expected a number above 0"),
        ({"recipe": {"max_epochs": 1.5}}, "max_epochs=1.5: expected a whole number"),
        ({"recipe": {"warmup_fraction": 2}}, "warmup_fraction=2: expected a number of at least 0 and below 1"),
        ({"recipe": {"warmup_fraction": 1.0}}, "warmup_fraction=1.0"),
        ({"recipe": {"warmup_fraction": -1}}, "warmup_fraction=-1"),
        ({"recipe": {"early_stop_patience": 0}}, "early_stop_patience=0: expected a whole number of at least 1"),
        ({"recipe": {"early_stop_patience": -3}}, "early_stop_patience=-3"),
        ({"recipe": {"gradient_clip_val": -1}}, "gradient_clip_val=-1: expected a number above 0, or null"),
        ({"loss": MatryoshkaLoss(CosMseLoss(), [512])}, "the teacher has only 20 dimensions"),
        ({"trainer_settings": {"nonesuch": 1}}, "nonesuch"),
        ({"trainer_settings": {"limit_train_batches": -1}}, "trainer.limit_train_batches=-1: expected a share above 0"),
    ],
)
def test_what_cannot_work_is_found_before_anything_is_written(splits, tmp_path, settings, says):
    with pytest.raises(ConfigError, match=says):
        fitter(run_folder=tmp_path, **settings).check(splits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("count", "select_by", "says"),
    [
        (0, "val/loss", "no validation pairs.*data.validation=0.1"),
        (1, "val/overlap@10", "undefined on 1 validation pair.*at least 2"),
        (2, "val/spearman", "undefined on 2 validation pair.*at least 3"),
    ],
)
def test_too_few_validation_pairs_to_choose_by_are_refused(splits, count, select_by, says):
    few = replace(splits, validation=take_pairs(splits.validation, np.arange(count)))
    with pytest.raises(ConfigError, match=says):
        fitter(recipe={"select_by": select_by}).check(few)


@pytest.mark.parametrize(("count", "select_by"), [(1, "val/loss"), (2, "val/overlap@10"), (3, "val/spearman")])
def test_few_validation_pairs_are_enough_where_the_figure_is_defined(splits, count, select_by):
    few = replace(splits, validation=take_pairs(splits.validation, np.arange(count)))
    job = fitter(recipe={"select_by": select_by})
    job.check(few)
    assert job.fit(few).best_epoch >= 0


def test_a_figure_that_is_undefined_at_the_start_is_chosen_by_once_there_is_one(splits):
    class Silent(LinearHead):  # the same vector for all sentences: their similarities have no order
        def __init__(self, student_dim, teacher_dim):
            super().__init__(student_dim, teacher_dim)
            torch.nn.init.zeros_(self.projection.weight)

    recipe = {"select_by": "val/spearman", "lr": 1e-2}
    result = fitter(Silent, init="random", recipe=recipe).fit(splits)
    assert result.best_epoch > 0 and result.figures["val/spearman"] > 0.5
    start = fitter(Silent, init="random", recipe={**recipe, "max_epochs": 0}).fit(splits)
    assert start.best_epoch == 0 and "val/spearman" not in start.figures


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.05, 0.99])
def test_any_warm_up_fits_any_number_of_steps(splits, warmup):
    """0.1 of ten steps is one: torch itself divides by the zero steps between first and last."""
    recipe = {"schedule": "one_cycle", "warmup_fraction": warmup}
    for count in (1, 2):
        fitter(init="random", recipe={**recipe, "max_epochs": count}).fit(splits)


def test_a_loss_that_needs_negatives_is_refused_where_there_are_none(splits):
    loss = CosMseLoss()
    loss.needs_negatives = True
    with pytest.raises(ConfigError, match="needs hard negatives"):
        replace(fitter(), loss=loss).check(splits)


def test_recipes_overlay_and_refuse_what_they_do_not_know():
    recipe = Recipe().overlay({"lr": 0.1, "max_epochs": None}).overlay({"batch_size": 8}).overlay(None)
    assert (recipe.lr, recipe.max_epochs, recipe.batch_size) == (0.1, 5, 8)
    with pytest.raises(ConfigError, match="unknown recipe setting 'learning_rate'"):
        Recipe().overlay({"learning_rate": 1})
    with pytest.raises(ConfigError, match="unknown recipe setting 'learning_rate'"):
        Recipe().overlay({"from_closed_form": {"learning_rate": 1}})


def test_settings_of_fine_tuning_are_for_heads_that_start_from_their_closed_form():
    settings = {"lr": 0.1, "from_closed_form": {"lr": 1e-5, "max_epochs": 2}}
    assert Recipe().overlay(settings, "closed_form") == Recipe(lr=1e-5, max_epochs=2)
    assert Recipe().overlay(settings, "random") == Recipe(lr=0.1)
