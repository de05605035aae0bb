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
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.heads.base import ClosedForm, Head, check_argument_types
from alignkit.heads.kept_moments import KeptMoments, Updatable, go_on
from alignkit.heads.linear import LinearHead
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import join_pairs
from alignkit.runs.earlier_fit import Solved
from alignkit.setting_names import settings_under
from alignkit.setting_rules import check, one_of
from alignkit.training.capacity import count_batches, fits, placed
from alignkit.training.checks import check_keeps_moments, check_loss, check_negatives, check_select_by
from alignkit.training.course import Course, stay_at_start
from alignkit.training.device import Device
from alignkit.training.listening import tell
from alignkit.training.memory import return_large_blocks
from alignkit.training.recipe import Recipe
from alignkit.training.solver_batches import SolverBatches, teacher_mean
from alignkit.training.team import ALONE, Team
from alignkit.training.trainer_settings import check_batches, check_trainer_settings, only_lightning_judges

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
        team: the processes that fitted it.
        moments: what the closed form of `head` was solved from, where they are kept.
        batch_size: of training, half of what was asked for where the memory was too small; `None` without training.
        ridge: the ridge regression that it began from, its λ chosen on validation and solved on train alone; `None`
            where it began from anything else.
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
    team: Team = ALONE
    moments: KeptMoments | None = None
    batch_size: int | None = None
    ridge: Solved | None = None

    @property
    def is_main_process(self) -> bool:
        """Of several, one writes and reports."""
        return self.team.leads


@dataclass(frozen=True)
class Fitter:
    """Everything that is constant while one head is fitted.

    Of several processes, each sums up its share of the pairs for a closed form; the first one chooses and solves, and
    sends the head to the others. Training splits the pairs among them and equals that of one process with all their
    batches joined.

    Attributes:
        make_head: called with `student_dim=` and `teacher_dim=`.
        loss: `forward(aligned, teacher, negatives=None)`.
        recipe: of the optimisation.
        device: where.
        init: `closed_form` or `random`.
        seed: an int; 0 too.
        run_folder: for checkpoints and TensorBoard events; `None` writes nothing.
        trainer_settings: further arguments of Lightning's `Trainer`.
        keep_moments: also give the sums that the closed form was solved from.
        earlier: sums of earlier pairs, which the closed form goes on from; nothing is chosen again but a λ of `None`.
        adds: whether the pairs are added to these sums; otherwise they are pairs that the sums hold.
    """

    make_head: Callable[..., Head]
    loss: nn.Module
    recipe: Recipe
    device: Device
    init: str = "random"
    seed: int = 0
    run_folder: Path | None = None
    trainer_settings: Mapping[str, Any] = field(default_factory=dict)
    keep_moments: bool = False
    earlier: Solved | None = None
    adds: bool = True

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
        head = self._new_head(splits)
        if self.keep_moments:
            check_keeps_moments(head, self.init, splits.train)
        learns = self._learns(head)
        processes = self._processes(learns)
        check_loss(self.loss, splits.train, self.recipe.batch_size * processes, learns=learns)
        check_batches(self.trainer_settings, *count_batches(splits, self.recipe.batch_size, processes))

    def join(self) -> Team:
        """Meet the processes that fit together; where nobody has started those of this machine, start them.

        Raises:
            ConfigError: if a setting of the trainer cannot be used.
        """
        return self._epochs().join() if self._needs_lightning(learns=False) else ALONE

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
        splits = placed(splits, self.device.torch_device)
        if not fits((splits.train, splits.validation), torch.device("cpu")):
            return_large_blocks()  # arrays come and go as they are read
        head = self._new_head(splits)
        team = self.join()
        chosen, moments = self._solve(head, team, [splits.train], validation=splits.validation)
        mean = self._teacher_mean(team, splits.train, moments)
        is_ridge = isinstance(head, LinearHead) and head.ridge_lambda is None and self.earlier is None
        ridge = Solved(moments, chosen) if is_ridge and moments is not None else None
        clock.lap("closed_form")
        if moments is not None and moments.space is not None and not self.keep_moments and self.earlier is None:
            moments = None  # the second fit makes features of its own; sums of these take much memory
        kept, course = self._train(head, splits, mean, resume)
        kept = head = _finished(kept)
        clock.lap("training")
        refit = (self.init == "closed_form" and not course.best_passes) if refit is None else refit
        refit = refit and self.adds
        if refit:
            again, of_both = self._refit(splits, team, course, chosen, mean, moments)
            clock.lap("refit")
            if all(bool(tensor.isfinite().all()) for tensor in again.state_dict().values()):
                head, moments = again, of_both
            else:
                logger.warning("the second fit, on train + validation, went astray; the head of the first is kept")
                refit = False
        return FitResult(
            head=head,
            kept=kept,
            chosen=chosen,
            best_epoch=_counted(course.best_passes),
            figures=course.figures,
            epochs=_counted(course.passes),
            ended=course.ended,
            refitted=refit,
            teacher_mean=mean,
            seconds=clock.seconds,
            team=team,
            moments=moments if self.keep_moments or self.earlier is not None else None,
            batch_size=course.batch_size,
            ridge=ridge,
        )

    def _refit(
        self, splits: PairSplits, team: Team, course: Course, chosen: Any, mean: Tensor, moments: KeptMoments | None
    ) -> tuple[Head, KeptMoments | None]:
        """Refit on train + validation: the same closed form, then as many epochs as the first fit kept."""
        head = self._new_head(splits)
        moments = self._solve(head, team, [splits.train, splits.validation], chosen=chosen, of_first=moments)[1]
        if passes := course.best_passes:
            together = replace(splits, train=join_pairs(splits.train, splits.validation))
            settings = {name: value for name, value in self.trainer_settings.items() if name not in ONCE}
            settings["limit_val_batches"] = 0  # nothing is left to choose, and no pairs are unseen
            recipe = replace(self.recipe, batch_size=course.batch_size or self.recipe.batch_size)
            again = replace(self, run_folder=None, trainer_settings=settings, recipe=recipe)
            head = again._epochs().again(head, together, mean, passes)
        return _finished(head), moments

    def _train(self, head: Head, splits: PairSplits, mean: Tensor, resume: bool) -> tuple[Head, Course]:
        """As much training as helps, or none at all; returns the kept state."""
        learns = self._learns(head)
        if self._needs_lightning(learns):
            return self._epochs().to_best(head, splits, mean, learns=learns, resume=resume)
        loss, device = copy.deepcopy(self.loss), self.device.torch_device
        course = stay_at_start(head, loss, splits, mean, self.recipe.batch_size, self.seed, device)
        if self.run_folder is not None:
            tell(0.0, course.figures)
        return head, course

    def _learns(self, head: Head) -> bool:
        return self.recipe.max_epochs > 0 and is_trainable(head)

    def _needs_lightning(self, learns: bool) -> bool:
        # loading it takes longer than a closed form
        return learns or only_lightning_judges(self.trainer_settings, self.recipe.precision)

    def _processes(self, learns: bool) -> int:
        return replace(self, run_folder=None)._epochs().count_processes() if self._needs_lightning(learns) else 1

    def _epochs(self) -> Any:
        from alignkit.training.epochs import Epochs

        return Epochs(self.loss, self.recipe, self.device, self.seed, self.run_folder, self.trainer_settings)

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

    def _solve(
        self, head: Head, team: Team, parts: list[Pairs], validation: Pairs | None = None, chosen: Any = None,
        of_first: KeptMoments | None = None,
    ) -> tuple[dict, KeptMoments | None]:  # fmt: skip
        """The closed form, in the first process alone; only its sums are made by all."""
        device = self.device.torch_device
        found = team.led(
            parts, device, lambda train: self._solved(head.to(device), train, validation, chosen, of_first)
        )
        return found or ({}, None)

    def _teacher_mean(self, team: Team, train: Pairs, moments: KeptMoments | None) -> Tensor:
        """Of all pairs that the sums are of, where they are kept."""
        known = None if moments is None else moments.moments.teacher_mean.float().cpu()
        own = team.led([train], self.device.torch_device, lambda pairs: teacher_mean(pairs) if known is None else known)
        return team.first(lambda: own)  # type: ignore[return-value]

    def _solved(
        self, head: Head, train: SolverBatches, validation: Pairs | None, chosen: Any, of_first: KeptMoments | None
    ) -> tuple[dict, KeptMoments | None]:
        device = self.device.torch_device
        if self.init != "closed_form":
            head.look(train)
            return {}, None
        held_out = SolverBatches(validation, device=device) if validation else None
        if self.earlier is not None and isinstance(head, Updatable):
            kept, new = self.earlier.kept.to(device), train if self.adds else None
            return go_on(head, kept, self.earlier.chosen if chosen is None else chosen, new, held_out)
        if of_first is not None and isinstance(head, Updatable):
            # sums add up: only validation is read
            return go_on(head, of_first.to(device), chosen, SolverBatches(*train.parts[1:], device=device))
        if isinstance(head, Updatable):
            return head.solve_keeping(train, held_out, chosen)
        return head.solve(train, held_out, chosen), None  # type: ignore[operator]


def is_trainable(head: Head) -> bool:
    """Whether training could change it."""
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
