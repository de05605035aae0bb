"""Trains a student together with its head; the start is a candidate, and the best state is kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from alignkit.distillation.improvement import gain_over, in_words, is_sure, text_figures
from alignkit.distillation.text_batches import TextBatches
from alignkit.distillation.tokens import Tokenize, Tokens
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.distillation.tuned_model import TunedModel
from alignkit.errors import ConfigError, DataError
from alignkit.heads.base import Head
from alignkit.metrics.intervals import Interval
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.training.best import KeepBest
from alignkit.training.capacity import validation_batch
from alignkit.training.checks import check_loss, check_select_by
from alignkit.training.device import Device
from alignkit.training.going_back import GoBack
from alignkit.training.half_batch import halving_once
from alignkit.training.module import AlignmentModule
from alignkit.training.recipe import Recipe
from alignkit.training.returned_memory import ReturnedMemory
from alignkit.training.row_order import BLOCK_ROWS, RowOrder
from alignkit.training.solver_batches import SolverBatches, sample_of_teacher, teacher_mean
from alignkit.training.start_alike import StartAlike
from alignkit.training.told_epochs import TellEpochs
from alignkit.training.trainer import build_trainer, lightning_manners, newest_checkpoint, remove_checkpoints
from alignkit.training.trainer_settings import check_trainer_settings

logger = logging.getLogger(__name__)

# fewer are trained on too, but often not for the better
FEW_TEXTS = 1_000
# teacher vectors of more bytes are read in blocks of the file
IN_ANY_ORDER_BYTES = 4 * 1024**3


@dataclass(frozen=True)
class Tuned:
    """What training the student brought.

    Attributes:
        head: in the kept state, on the CPU; the student is in it too.
        figures: validation figures of the kept state, by name.
        start_figures: of the start.
        best_epoch: after which the kept state was; 0 is the start.
        epochs: that were trained.
        seconds: of training and validation.
        texts_per_s: trained on, a second.
        improved: whether the trained state is better than the start beyond its interval.
        reason: in words.
        gain: of the figure that decided, with its interval; `None` where nothing was trained.
        batch_size: half of what was asked for where the memory was too small.
        is_main_process: of several, one writes and reports.
    """

    head: Head
    figures: Mapping[str, float]
    start_figures: Mapping[str, float]
    best_epoch: float
    epochs: float
    seconds: float
    texts_per_s: float
    improved: bool
    reason: str
    gain: Interval | None = None
    batch_size: int = 0
    is_main_process: bool = True


def tune(
    student: TrainableStudent,
    head: Head,
    splits: PairSplits,
    *,
    loss: nn.Module,
    recipe: Recipe,
    device: Device,
    seed: int,
    run_folder: Path | None,
    resume: bool = False,
    trainer_settings: Mapping[str, Any] | None = None,
    student_lr: float | None = None,
    tokenize: Tokenize = Tokens.of,
) -> Tuned:
    """Train on the train split, choose on the validation split; the test split is not looked at.

    Args:
        student: trained in place, and left in the kept state.
        head: likewise; one that has not seen the validation split, or the start looks better than it is.
        splits: with texts; the student's vectors in them are not used.
        loss: `forward(aligned, teacher)`.
        recipe: of the optimisation; `lr` is the head's.
        device: where.
        seed: an int; 0 too.
        run_folder: for checkpoints and TensorBoard events; `None` writes nothing.
        resume: go on from the newest checkpoint in the run folder, where there is one.
        trainer_settings: further arguments of Lightning's `Trainer`.
        student_lr: the student's peak learning rate; `None` takes its own.
        tokenize: what `TrainableStudent.tokenize` takes; by default it is done in this process.

    Raises:
        ConfigError: if a setting cannot be used.
        DataError: for pairs without texts.
        KeyboardInterrupt: on Ctrl-C; the checkpoint is there.
    """
    return _Tuning(
        student, head, splits, loss, recipe.for_pairs(len(splits.train)), device, seed, run_folder,
        dict(trainer_settings or {}), student_lr or student.rate, tokenize,
    ).run(resume)  # fmt: skip


@dataclass
class _Tuning:
    """One tuning: what is constant in it, and its steps."""

    student: TrainableStudent
    head: Head
    splits: PairSplits
    loss: nn.Module
    recipe: Recipe
    device: Device
    seed: int
    run_folder: Path | None
    settings: dict[str, Any]
    student_lr: float
    tokenize: Tokenize

    def run(self, resume: bool) -> Tuned:
        self._check()
        if self.device.rough_products:
            self.student.suit_rough_products()
        train, validation = self.splits.train, self.splits.validation
        tokens = {
            "train": self.student.tokenize(train.texts or (), self.tokenize),
            "validation": self.student.tokenize(validation.texts or (), self.tokenize),
        }
        model = TunedModel(self.student, self.head, self.student_lr / self.recipe.lr)
        model.freeze_unused(tokens["train"].batch(np.arange(min(2, len(train))), torch.device("cpu")))
        start = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
        before = self._figures(model, tokens["validation"])
        started = time.perf_counter()

        def tried(recipe: Recipe) -> tuple[KeepBest, GoBack, Any]:
            self.recipe = recipe
            return self._train(model, tokens, resume)

        def back_to_start() -> None:
            model.cpu().load_state_dict(start)
            if not resume:
                remove_checkpoints(self.run_folder)  # of batches that are not used any more

        best, went, trainer = halving_once(tried, self.recipe, back_to_start)
        seconds = time.perf_counter() - started
        best.restore(model)
        self._finish(model)
        gain = gain_over(before, self._figures(model, tokens["validation"]), self.seed) if best.best_passes else None
        improved = is_sure(gain)
        model.cpu()  # the figures left it where they were computed
        if not improved:
            model.load_state_dict(start)
        return Tuned(
            head=self.head,
            figures=best.best_figures if improved else best.first_figures,
            start_figures=best.first_figures,
            best_epoch=best.best_passes if improved else 0,
            epochs=best.passes,
            seconds=seconds,
            texts_per_s=best.passes_here * len(train) / max(seconds, 1e-9),
            improved=improved,
            reason=in_words(gain, self.recipe.select_by, went.ended or best.ended),
            gain=gain,
            batch_size=self.recipe.batch_size,
            is_main_process=trainer.is_global_zero,
        )

    def _check(self) -> None:
        self.recipe.check()
        check_trainer_settings(self.settings)
        check_select_by(self.recipe.select_by, len(self.splits.validation))
        for name in ("train", "validation"):
            if getattr(self.splits, name).texts is None:
                raise DataError(
                    f"the {name} split has vectors without texts, and a student learns from texts; take data=cached "
                    "with data.path=FILE"
                )
        if self.recipe.noise:
            self.recipe = replace(self.recipe, noise=0.0)  # of vectors that a head is given; here it gets tokens
        if getattr(self.loss, "needs_negatives", False):
            raise ConfigError("this loss needs hard negatives, which are not read here; take another loss")
        check_loss(self.loss, self.splits.train, self.recipe.batch_size, learns=self.recipe.max_epochs > 0)
        if len(self.splits.train) < FEW_TEXTS:
            logger.warning(
                "%s texts are few to train a student on; at least %s are better. The result is kept only where it is "
                "surely better than the start",
                f"{len(self.splits.train):,}",
                f"{FEW_TEXTS:,}",
            )

    def _train(self, model: TunedModel, tokens: Mapping[str, Tokens], resume: bool) -> tuple[KeepBest, GoBack, Any]:
        splits, recipe = self.splits, self.recipe
        model.train()
        mean = teacher_mean(SolverBatches(splits.train, device=torch.device("cpu")))
        others = sample_of_teacher(splits.train, self.seed)
        module = AlignmentModule(
            model, self.loss, mean, len(splits.validation), recipe, self.seed, others, self.device.rough_products
        )
        best, went = KeepBest(recipe.select_by, recipe.early_stop_patience), GoBack()
        callbacks = [StartAlike(), went, best, TellEpochs(best), ReturnedMemory()]
        trainer = build_trainer(recipe, self.device, callbacks, self.run_folder, self.settings, len(splits.train))

        def batches(name: str, batch_size: int) -> TextBatches:
            pairs: Pairs = getattr(splits, name)
            return TextBatches(
                pairs, tokens[name], batch_size,
                order=lambda: self._order(pairs, name == "train", trainer),
                epoch=lambda: trainer.current_epoch, device=lambda: trainer.strategy.root_device,
            )  # fmt: skip

        training = batches("train", recipe.batch_size)
        validating = batches("validation", validation_batch(recipe.batch_size, trainer.world_size))
        checkpoint = newest_checkpoint(self.run_folder) if resume else None
        with lightning_manners(trainer):
            if checkpoint is None:
                trainer.validate(module, validating, verbose=False)
            if recipe.max_epochs > 0:
                trainer.fit(module, training, validating, ckpt_path=checkpoint, weights_only=True)
                if best.validated < best.batches:
                    trainer.validate(module, validating, verbose=False)
                best.note_end(trainer)
        return best, went, trainer

    def _order(self, pairs: Pairs, shuffle: bool, trainer: Any) -> RowOrder:
        in_any_order = 4 * len(pairs) * pairs.teacher_dim <= IN_ANY_ORDER_BYTES
        return RowOrder(
            len(pairs), shuffle=shuffle, seed=self.seed, rank=trainer.global_rank, world_size=trainer.world_size,
            block=1 if in_any_order else BLOCK_ROWS,
        )  # fmt: skip

    def _figures(self, model: TunedModel, tokens: Tokens) -> np.ndarray:
        return text_figures(model, self.splits.validation, tokens, self.recipe.select_by, self.device, self.seed)

    def _finish(self, model: TunedModel) -> None:
        model.cpu().float().requires_grad_(False)
        self.head.eval()
