"""Fit one head: its closed form, then as much training as helps, then once more on all pairs."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.heads.base import ClosedForm, Head, check_argument_types
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import join_pairs
from alignkit.training.batches import SolverBatches, teacher_mean
from alignkit.training.best import KeepBest
from alignkit.training.datamodule import PairDataModule, fits
from alignkit.training.device import Device
from alignkit.training.memory import return_large_blocks
from alignkit.training.module import VALIDATION_FIGURES, AlignmentModule
from alignkit.training.recipe import Recipe
from alignkit.training.trainer import StopAfter, build_trainer, lightning_manners, newest_checkpoint

INITS = ("closed_form", "random")
# what compares sentences with each other is undefined on fewer
FEWEST_PAIRS = {"val/overlap@10": 2, "val/spearman": 3}


@dataclass(frozen=True)
class FitResult:
    """A fitted head and how it came about.

    Attributes:
        head: on the CPU, in evaluation mode.
        kept: the same before it was fitted once more: one that has not seen the validation split.
        chosen: what the closed form chose on validation; empty for a random start.
        best_epoch: whose state was kept, counted from 1; 0 is the starting point.
        figures: validation figures of the kept state, by name.
        refitted: whether the head was fitted once more on train + validation.
        teacher_mean: `(teacher_dim,)` of the training split.
        seconds: by step.
        is_main_process: of several, one writes and reports.
    """

    head: Head
    kept: Head
    chosen: Mapping[str, Any]
    best_epoch: int
    figures: Mapping[str, float]
    refitted: bool
    teacher_mean: Tensor
    seconds: Mapping[str, float] = field(default_factory=dict)
    is_main_process: bool = True


@dataclass(frozen=True)
class Fitter:
    """All that stays the same while one head is fitted.

    Of several processes each solves the closed form on all pairs, on its own device: when the first one solves,
    Lightning has not started the others yet. Training shares the pairs among them. To solve over processes of your
    own, give each its pairs and see `heads.moments.Moments.all_reduce`.

    Attributes:
        make_head: called with `student_dim=` and `teacher_dim=`.
        loss: `forward(aligned, teacher, negatives=None)`.
        recipe: of the optimisation.
        device: where.
        init: `closed_form` or `random`.
        seed: an int; 0 too.
        run_folder: for checkpoints and TensorBoard events; `None` writes nothing.
        trainer_settings: further arguments of Lightning's `Trainer`.
    """

    make_head: Callable[..., Head]
    loss: nn.Module
    recipe: Recipe
    device: Device
    init: str = "random"
    seed: int = 0
    run_folder: Path | None = None
    trainer_settings: Mapping[str, Any] = field(default_factory=dict)

    def check(self, splits: PairSplits) -> None:
        """Find what cannot work before anything is written.

        Raises:
            ConfigError: if settings do not go together.
        """
        self.recipe.check()
        _check_negatives(self.loss, splits)
        _check_select_by(self.recipe.select_by, len(splits.validation))
        self._new_head(splits)
        _try_loss(self.loss, splits.train)
        build_trainer(self.recipe, self.device, KeepBest(self.recipe.select_by), None, self.trainer_settings)

    def fit(self, splits: PairSplits, *, refit: bool | None = None, resume: bool = False) -> FitResult:
        """Fit on the train split, choose on the validation split; the test split is not looked at.

        Args:
            splits: the pairs.
            refit: fit once more on train + validation with what validation chose; `None` does so where the kept state
                is the closed form, which costs no training.
            resume: go on from the newest checkpoint in the run folder, where there is one.

        Raises:
            KeyboardInterrupt: on Ctrl-C; the checkpoint is there.
        """
        clock = _Clock()
        if not fits((splits.train, splits.validation), torch.device("cpu")):
            return_large_blocks()  # arrays come and go as they are read
        head = self._new_head(splits)
        chosen = self._solve(head, [splits.train], validation=splits.validation)
        clock.lap("closed_form")
        best = KeepBest(self.recipe.select_by, self.recipe.early_stop_patience)
        mean = teacher_mean(splits.train)
        trainer = self._train(head, splits, best, mean, resume=resume)
        best.restore(head)
        kept = head
        clock.lap("training")
        trained = best.best_epoch >= 0
        refit = (self.init == "closed_form" and not trained) if refit is None else refit
        if refit:
            together = replace(splits, train=join_pairs(splits.train, splits.validation)) if trained else splits
            head = self._new_head(splits)
            self._solve(head, [splits.train, splits.validation], chosen=chosen)
            if trained:
                again = replace(self, run_folder=None)
                again._train(head, together, StopAfter(best.best_epoch + 1), mean)
            clock.lap("refit")
        return FitResult(
            head=head.cpu().eval().requires_grad_(False),
            kept=kept.cpu().eval().requires_grad_(False),
            chosen=chosen,
            best_epoch=best.best_epoch + 1,
            figures=best.best_figures,
            refitted=refit,
            teacher_mean=mean,
            seconds=clock.seconds,
            is_main_process=trainer.is_global_zero,
        )

    def _new_head(self, splits: PairSplits) -> Head:
        if self.init not in INITS:
            raise ConfigError(f"model.init={self.init}: expected one of {', '.join(INITS)}")
        if isinstance(self.make_head, functools.partial):
            check_argument_types(self.make_head.func, self.make_head.keywords)
        torch.manual_seed(self.seed)
        head = self.make_head(student_dim=splits.train.student_dim, teacher_dim=splits.train.teacher_dim)
        if self.init == "closed_form" and not isinstance(head, ClosedForm):
            raise ConfigError(f"model.init=closed_form: the {head.kind()} head has none; take model.init=random")
        return head

    def _solve(self, head: Head, parts: list[Pairs], validation: Pairs | None = None, chosen: Any = None) -> dict:
        if self.init != "closed_form":
            return {}
        device = self.device.torch_device
        head.to(device)
        held_out = SolverBatches(validation, device=device) if validation else None
        return head.solve(SolverBatches(*parts, device=device), held_out, chosen)  # type: ignore[operator]

    def _train(self, head: Head, splits: PairSplits, keep: Callback, mean: Tensor, *, resume: bool = False) -> Trainer:
        loss = copy.deepcopy(self.loss)  # a memory bank must not carry over into a second fit
        module = AlignmentModule(head, loss, mean, len(splits.validation), recipe=self.recipe, seed=self.seed)
        uses_negatives = bool(getattr(loss, "uses_negatives", False))
        data = PairDataModule(splits, self.recipe.batch_size, self.seed, with_negatives=uses_negatives)
        trainer = build_trainer(self.recipe, self.device, keep, self.run_folder, self.trainer_settings)
        checkpoint = newest_checkpoint(self.run_folder) if resume else None
        trainable = any(parameter.requires_grad for parameter in head.parameters())
        with lightning_manners(trainer):
            if checkpoint is None:  # the starting point is a candidate too
                trainer.validate(module, data, verbose=False)
            if trainable and self.recipe.max_epochs > 0:
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        return trainer


class _Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


def _check_negatives(loss: nn.Module, splits: PairSplits) -> None:
    if getattr(loss, "needs_negatives", False) and splits.train.negatives is None:
        raise ConfigError("this loss needs hard negatives and the data has none; take data=built or another loss")


def _check_select_by(select_by: str, count: int) -> None:
    if select_by not in VALIDATION_FIGURES:
        raise ConfigError(f"select_by={select_by}: expected one of {', '.join(VALIDATION_FIGURES)}")
    if not count:
        raise ConfigError(
            "there are no validation pairs, on which λ and the kept state are chosen; expected at least one: give "
            "data.validation=0.1, or another share above 0"
        )
    if count < FEWEST_PAIRS.get(select_by, 1):
        raise ConfigError(
            f"select_by={select_by} is undefined on {count} validation pair(s); expected at least "
            f"{FEWEST_PAIRS[select_by]}: take select_by=val/loss, or more validation pairs"
        )


def _try_loss(loss: nn.Module, pairs: Pairs) -> None:
    """One call on made-up vectors of the right width: what does not go with it raises here."""
    generator = torch.Generator().manual_seed(0)
    aligned, teacher = torch.randn(2, 2, pairs.teacher_dim, generator=generator)
    negatives = None
    if pairs.negatives is not None and getattr(loss, "uses_negatives", False):
        negatives = torch.randn(2, pairs.negatives.shape[1], pairs.teacher_dim, generator=generator)
    with torch.no_grad():
        copy.deepcopy(loss).eval()(aligned, teacher, negatives)
