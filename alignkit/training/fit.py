"""Fits one head: its closed form, then as much training as helps, then a refit on all pairs.

A little over 250 lines: the three steps pass on the same state and are easiest to read together.
"""

from __future__ import annotations

import copy
import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.heads.base import ClosedForm, Head, check_argument_types
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import join_pairs
from alignkit.setting_names import settings_under
from alignkit.setting_rules import check, one_of
from alignkit.training.batches import SolverBatches, sample_of_teacher, teacher_mean
from alignkit.training.best import KeepBest
from alignkit.training.checks import check_loss, check_negatives, check_select_by
from alignkit.training.datamodule import PairDataModule, fits
from alignkit.training.device import Device
from alignkit.training.memory import return_large_blocks
from alignkit.training.module import AlignmentModule
from alignkit.training.processes import is_main_process
from alignkit.training.recipe import Recipe
from alignkit.training.start_alike import StartAlike
from alignkit.training.trainer import StopAfter, build_trainer, lightning_manners, newest_checkpoint
from alignkit.training.trainer_settings import check_batches, check_trainer_settings

logger = logging.getLogger(__name__)

INITS = ("closed_form", "random")
# trainer settings that bound only the first fit; the refit takes as many epochs as the first fit kept
ONCE = ("max_time", "min_epochs", "min_steps", "limit_val_batches", "val_check_interval", "check_val_every_n_epoch")


@dataclass(frozen=True)
class FitResult:
    """A fitted head and how it was fitted.

    Attributes:
        head: on the CPU, in evaluation mode.
        kept: the same head before the refit, which has not seen the validation split.
        chosen: what the closed form chose on validation; empty for a random start.
        best_epoch: after which the kept state was, counted from 1; 0 is the starting point, a fraction lies within one.
        figures: validation figures of the kept state, by name.
        epochs: that were trained, a fraction where training ended within one.
        ended: why training ended before its epochs were over; `None` where it did not.
        refitted: whether the head was refitted on train + validation.
        teacher_mean: `(teacher_dim,)` of the training split.
        seconds: by step.
        is_main_process: of several, one writes and reports.
    """

    head: Head
    kept: Head
    chosen: Mapping[str, Any]
    best_epoch: float
    figures: Mapping[str, float]
    epochs: float
    ended: str | None
    refitted: bool
    teacher_mean: Tensor
    seconds: Mapping[str, float] = field(default_factory=dict)
    is_main_process: bool = True


@dataclass(frozen=True)
class Fitter:
    """Everything that is constant while one head is fitted.

    Of several processes, only the first solves the closed form, on all pairs, and sends it to the others. Training
    splits the pairs among them and equals that of one process with all their batches joined. To solve over processes of
    your own, give each its pairs and see `heads.moments.Moments.all_reduce`.

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

    @property
    def is_solved(self) -> bool:
        """Whether the closed form sets all of the head's weights, so that training is optional."""
        make = self.make_head.func if isinstance(self.make_head, functools.partial) else self.make_head
        return self.init == "closed_form" and getattr(make, "closed_form_is_whole", True)

    def check(self, splits: PairSplits) -> None:
        """Refuse what cannot work before anything is written.

        Raises:
            ConfigError: if settings are incompatible.
        """
        self.recipe.check()
        check_trainer_settings(self.trainer_settings)
        check_negatives(self.loss, splits)
        check_select_by(self.recipe.select_by, len(splits.validation))
        trainable = _is_trainable(self._new_head(splits))
        processes = self._processes()
        together = self.recipe.batch_size * processes
        check_loss(self.loss, splits.train, together, learns=trainable and self.recipe.max_epochs > 0)
        data = PairDataModule(splits, self.recipe.batch_size)
        check_batches(self.trainer_settings, *data.count_batches(processes))

    def fit(self, splits: PairSplits, *, refit: bool | None = None, resume: bool = False) -> FitResult:
        """Fit on the train split, choose on the validation split; the test split is not looked at.

        Args:
            splits: the pairs.
            refit: fit once more on train + validation with what validation chose; `None` does so where the kept state
                is the closed form, which costs no training.
            resume: go on from the newest checkpoint in the run folder, where there is one.

        Raises:
            ConfigError: if a setting of the trainer cannot be used.
            KeyboardInterrupt: on Ctrl-C; the checkpoint is there.
        """
        return replace(self, recipe=self.recipe.for_pairs(len(splits.train)))._fit(splits, refit, resume)

    def _fit(self, splits: PairSplits, refit: bool | None, resume: bool) -> FitResult:
        """As `fit`, by the recipe for this many pairs."""
        clock = _Clock()
        check_trainer_settings(self.trainer_settings)
        if not fits((splits.train, splits.validation), torch.device("cpu")):
            return_large_blocks()  # arrays come and go as they are read
        head = self._new_head(splits)
        chosen = self._solve(head, [splits.train], validation=splits.validation)
        clock.lap("closed_form")
        best = KeepBest(self.recipe.select_by, self.recipe.early_stop_patience)
        mean = teacher_mean(splits.train)
        trainer, kept = self._train(head, splits, best, mean, resume=resume)
        best.restore(kept)
        kept = head = _finished(kept)
        clock.lap("training")
        refit = (self.init == "closed_form" and not best.best_passes) if refit is None else refit
        if refit:
            head = self._refit(splits, best.best_passes, chosen, mean)
            clock.lap("refit")
            if not all(bool(tensor.isfinite().all()) for tensor in head.state_dict().values()):
                logger.warning("the second fit, on train + validation, went astray; the head of the first is kept")
                head, refit = kept, False
        return FitResult(
            head=head,
            kept=kept,
            chosen=chosen,
            best_epoch=_counted(best.best_passes),
            figures=best.best_figures,
            epochs=_counted(best.passes),
            ended=best.ended,
            refitted=refit,
            teacher_mean=mean,
            seconds=clock.seconds,
            is_main_process=trainer.is_global_zero,
        )

    def _refit(self, splits: PairSplits, passes: float, chosen: Any, mean: Tensor) -> Head:
        """Refit on train + validation: the same closed form, then as many epochs as the first fit kept."""
        head = self._new_head(splits)
        self._solve(head, [splits.train, splits.validation], chosen=chosen)
        if passes:
            together = replace(splits, train=join_pairs(splits.train, splits.validation))
            settings = {name: value for name, value in self.trainer_settings.items() if name not in ONCE}
            settings["limit_val_batches"] = 0  # nothing is left to choose, and no pairs are unseen
            again = replace(self, run_folder=None, trainer_settings=settings)
            head = again._train(head, together, StopAfter(passes), mean)[1]
        return _finished(head)

    def _processes(self) -> int:
        trainer = build_trainer(self.recipe, self.device, [], None, self.trainer_settings)
        return trainer.num_devices * trainer.num_nodes

    def _new_head(self, splits: PairSplits) -> Head:
        check({"init": self.init}, {"init": one_of(INITS)}, "model")
        torch.manual_seed(self.seed)
        with settings_under("model"):
            if isinstance(self.make_head, functools.partial):
                check_argument_types(self.make_head.func, self.make_head.keywords)
            head = self.make_head(student_dim=splits.train.student_dim, teacher_dim=splits.train.teacher_dim)
        if self.init == "closed_form" and not isinstance(head, ClosedForm):
            raise ConfigError(f"model.init=closed_form: the {head.kind()} head has none; take model.init=random")
        return head

    def _solve(self, head: Head, parts: list[Pairs], validation: Pairs | None = None, chosen: Any = None) -> dict:
        if not is_main_process() and self._processes() > 1:
            return {}
        device = self.device.torch_device
        train = SolverBatches(*parts, device=device)
        head.to(device)
        if self.init != "closed_form":
            head.look(train)
            return {}
        held_out = SolverBatches(validation, device=device) if validation else None
        return head.solve(train, held_out, chosen)  # type: ignore[operator]

    def _train(
        self, head: Head, splits: PairSplits, keep: KeepBest | StopAfter, mean: Tensor, *, resume: bool = False
    ) -> tuple[Trainer, Head]:
        """Train; returns the trainer and the trained head."""
        loss = copy.deepcopy(self.loss)  # a memory bank must not carry over into a second fit
        others = sample_of_teacher(splits.train, self.seed)
        module = AlignmentModule(
            head, loss, mean, len(splits.validation), self.recipe, self.seed, others, self.device.rough_products
        )
        uses_negatives = bool(getattr(loss, "uses_negatives", False))
        data = PairDataModule(splits, self.recipe.batch_size, self.seed, with_negatives=uses_negatives)
        callbacks = [StartAlike(), keep]
        trainer = build_trainer(self.recipe, self.device, callbacks, self.run_folder, self.trainer_settings)
        checkpoint = newest_checkpoint(self.run_folder) if resume else None
        with lightning_manners(trainer):
            if isinstance(keep, KeepBest) and checkpoint is None:  # the starting point is a candidate too
                trainer.validate(module, data, verbose=False)
            if _is_trainable(cast(Head, module.head)) and self.recipe.max_epochs > 0:
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
                if isinstance(keep, KeepBest):
                    if keep.validated < keep.batches:  # it ended between two validations
                        trainer.validate(module, data, verbose=False)
                    keep.note_end(trainer)
        return trainer, cast(Head, module.head)


def _is_trainable(head: Head) -> bool:
    return any(parameter.requires_grad for parameter in head.parameters())


def _finished(head: Head) -> Head:
    # used in float32, whatever the training precision
    return head.cpu().float().eval().requires_grad_(False)


def _counted(passes: float) -> float:
    return int(passes) if passes == int(passes) else passes


class _Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now
