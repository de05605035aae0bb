"""Fit one head: its closed form, then as much training as helps, then once more on all pairs."""

from __future__ import annotations

import copy
import logging
import signal
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerStatus
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from alignkit.errors import AlignkitError, ConfigError
from alignkit.heads.base import ClosedForm, Head
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.training.batches import SolverBatches, teacher_mean
from alignkit.training.best import KeepBest
from alignkit.training.datamodule import PairDataModule
from alignkit.training.device import Device
from alignkit.training.module import VALIDATION_FIGURES, AlignmentModule
from alignkit.training.progress import EpochProgress
from alignkit.training.recipe import Recipe

INITS = ("closed_form", "random")
CHECKPOINTS = "checkpoints"


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
        seconds: by step.
        is_main_process: of several, one writes and reports.
    """

    head: Head
    kept: Head
    chosen: Mapping[str, Any]
    best_epoch: int
    figures: Mapping[str, float]
    refitted: bool
    seconds: Mapping[str, float] = field(default_factory=dict)
    is_main_process: bool = True


@dataclass(frozen=True)
class Fitter:
    """All that stays the same while one head is fitted.

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
        _check_negatives(self.loss, splits)
        if self.recipe.select_by not in VALIDATION_FIGURES:
            raise ConfigError(f"select_by={self.recipe.select_by}: expected one of {', '.join(VALIDATION_FIGURES)}")
        head = self._new_head(splits)
        AlignmentModule(head, self.loss, torch.zeros(head.teacher_dim), len(splits.validation), recipe=self.recipe)
        replace(self, run_folder=None)._trainer(KeepBest(self.recipe.select_by))

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
        head = self._new_head(splits)
        chosen = self._solve(head, [splits.train], validation=splits.validation)
        clock.lap("closed_form")
        best = KeepBest(self.recipe.select_by, self.recipe.early_stop_patience)
        trainer = self._train(head, splits, best, resume=resume)
        best.restore(head)
        kept = head
        clock.lap("training")
        trained = best.best_epoch >= 0
        refit = (self.init == "closed_form" and not trained) if refit is None else refit
        if refit:
            together = replace(splits, train=_joined(splits)) if trained else splits
            head = self._new_head(splits)
            self._solve(head, [splits.train, splits.validation], chosen=chosen)
            if trained:
                again = replace(self, run_folder=None)
                again._train(head, together, _StopAfter(best.best_epoch + 1))
            clock.lap("refit")
        return FitResult(
            head=head.cpu().eval().requires_grad_(False),
            kept=kept.cpu().eval().requires_grad_(False),
            chosen=chosen,
            best_epoch=best.best_epoch + 1,
            figures=best.best_figures,
            refitted=refit,
            seconds=clock.seconds,
            is_main_process=trainer.is_global_zero,
        )

    def _new_head(self, splits: PairSplits) -> Head:
        if self.init not in INITS:
            raise ConfigError(f"model.init={self.init}: expected one of {', '.join(INITS)}")
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

    def _train(self, head: Head, splits: PairSplits, keep: Callback, *, resume: bool = False) -> Trainer:
        loss = copy.deepcopy(self.loss)  # a memory bank must not carry over into a second fit
        module = AlignmentModule(
            head, loss, teacher_mean(splits.train), len(splits.validation), recipe=self.recipe, seed=self.seed
        )
        uses_negatives = bool(getattr(loss, "uses_negatives", False))
        data = PairDataModule(splits, self.recipe.batch_size, self.seed, with_negatives=uses_negatives)
        trainer = self._trainer(keep)
        checkpoint = _newest_checkpoint(self.run_folder) if resume else None
        trainable = any(parameter.requires_grad for parameter in head.parameters())
        with _lightning_manners(trainer):
            if checkpoint is None:  # the starting point is a candidate too
                trainer.validate(module, data, verbose=False)
            if trainable and self.recipe.max_epochs > 0:
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
        return trainer

    def _trainer(self, keep: Callback) -> Trainer:
        callbacks: list[Callback] = [keep, EpochProgress(self.recipe.select_by)]
        logger: TensorBoardLogger | bool = False
        if self.run_folder is not None:
            # two, so that a crash while one is written leaves the other
            folder = self.run_folder / CHECKPOINTS
            callbacks.append(
                ModelCheckpoint(folder, "{epoch:04d}", monitor="epoch", mode="max", save_top_k=2,
                                save_on_train_epoch_end=True, auto_insert_metric_name=False)
            )  # fmt: skip
            logger = TensorBoardLogger(self.run_folder, name="", version="", default_hp_metric=False)
        settings = {
            "devices": 1,
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 10,
            "enable_model_summary": False,
            "enable_progress_bar": False,
            **self.trainer_settings,
        }
        logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # what it has to say, alignkit says itself
        try:
            return Trainer(
                accelerator=self.device.accelerator,
                precision=self.device.precision,  # type: ignore[arg-type]
                max_epochs=self.recipe.max_epochs,
                gradient_clip_val=self.recipe.gradient_clip_val,
                logger=logger,
                callbacks=callbacks,
                use_distributed_sampler=False,
                enable_checkpointing=self.run_folder is not None,
                **settings,
            )
        except (TypeError, ValueError, MisconfigurationException) as error:
            message = str(error).splitlines()[0].replace("Trainer.__init__() got an ", "")
            raise ConfigError(f"trainer: {message}; python -m alignkit.train --help lists common settings") from None


class _StopAfter(Callback):
    """End after so many epochs of a longer schedule: what validation found best, on more pairs."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch + 1 >= self.epochs:
            trainer.should_stop = True


class _Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name], self._last = now - self._last, now


class _lightning_manners:  # noqa: N801 - reads as a function
    """Turn Lightning's way of leaving into ours: Ctrl-C is a KeyboardInterrupt, a full disk is one line."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self._warnings = warnings.catch_warnings()

    def __enter__(self) -> None:
        self._on_interrupt = signal.getsignal(signal.SIGINT)
        self._warnings.__enter__()
        # batches come from an iterable of ours, which has no workers to speak of
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
        warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")

    def __exit__(self, kind: type | None, error: BaseException | None, trace: Any) -> None:
        self._warnings.__exit__(kind, error, trace)
        if isinstance(error, SystemExit) and self.trainer.state.status == TrainerStatus.INTERRUPTED:
            signal.signal(signal.SIGINT, self._on_interrupt)  # Lightning left it ignored
            raise KeyboardInterrupt from None
        if isinstance(error, OSError) or "PytorchStreamWriter" in str(error):
            raise AlignkitError(
                f"the run could not be saved ({str(error).splitlines()[0]}); free some space, then resume it"
            ) from None


def _check_negatives(loss: nn.Module, splits: PairSplits) -> None:
    if getattr(loss, "needs_negatives", False) and splits.train.negatives is None:
        raise ConfigError("this loss needs hard negatives and the data has none; take data=built or another loss")


def _newest_checkpoint(run_folder: Path | None) -> str | None:
    paths = sorted((run_folder / CHECKPOINTS).glob("*.ckpt")) if run_folder else []
    for path in reversed(paths):
        try:  # the newest may have been cut off while it was written
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # noqa: BLE001 - whatever torch raises for a torn file
            continue
        return str(path)
    return None


def _joined(splits: PairSplits) -> Pairs:
    train, held_out = splits.train, splits.validation
    negatives = None
    if train.negatives is not None and held_out.negatives is not None:
        shifted = np.where(held_out.negatives >= 0, held_out.negatives + len(train), -1)
        negatives = np.concatenate([train.negatives, shifted])
    return Pairs(
        ids=[*train.ids, *held_out.ids],
        student=np.concatenate([train.student, held_out.student]),
        teacher=np.concatenate([train.teacher, held_out.teacher]),
        negatives=negatives,
    )
