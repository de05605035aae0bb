"""Trains a head with Lightning: to its best state, or once more for as many epochs.

Imported where something is trained: Lightning takes longer to load than a closed form to solve.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from lightning.pytorch import Trainer
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.pairs.base import PairSplits
from alignkit.training.best import KeepBest
from alignkit.training.course import Course
from alignkit.training.datamodule import PairDataModule
from alignkit.training.device import Device
from alignkit.training.half_batch import halving_once
from alignkit.training.module import AlignmentModule
from alignkit.training.recipe import Recipe
from alignkit.training.solver_batches import sample_of_teacher
from alignkit.training.start_alike import StartAlike
from alignkit.training.team import Team, join
from alignkit.training.told_epochs import TellEpochs
from alignkit.training.trainer import (
    StopAfter,
    build_trainer,
    lightning_manners,
    newest_checkpoint,
    remove_checkpoints,
)


@dataclass(frozen=True)
class Epochs:
    """Everything that training a head needs; as the attributes of `Fitter` of the same names."""

    loss: nn.Module
    recipe: Recipe
    device: Device
    seed: int
    run_folder: Path | None
    trainer_settings: Mapping[str, Any]

    def count_processes(self) -> int:
        """Processes that will train together.

        Raises:
            ConfigError: if a setting of the trainer cannot be used.
        """
        trainer = self._trainer([])
        return trainer.num_devices * trainer.num_nodes

    def join(self) -> Team:
        """Meet the processes that train together.

        Raises:
            ConfigError: if a setting of the trainer cannot be used, or a launcher started another number of processes.
        """
        return replace(self, run_folder=None)._meet()

    def to_best(
        self, head: Head, splits: PairSplits, mean: Tensor, *, learns: bool, resume: bool = False
    ) -> tuple[Head, Course]:
        """Train, and keep the state that is best on the validation split; the starting point is one too.

        Args:
            head: trained in place, but for one whose shapes another process has determined.
            splits: the pairs.
            mean: `(teacher_dim,)` of the training split's teacher vectors.
            learns: whether there is anything to train; else the starting point is only judged.
            resume: go on from the newest checkpoint in the run folder, where there is one.
        """
        start = {name: value.detach().cpu().clone() for name, value in head.state_dict().items()}

        def back_to_start() -> None:
            head.cpu().load_state_dict(start)
            if not resume:
                remove_checkpoints(self.run_folder)  # of batches that are not used any more

        def tried(recipe: Recipe) -> tuple[Head, Course]:
            return replace(self, recipe=recipe)._to_best(head, splits, mean, learns, resume)

        return halving_once(tried, self.recipe, back_to_start)

    def _to_best(self, head: Head, splits: PairSplits, mean: Tensor, learns: bool, resume: bool) -> tuple[Head, Course]:
        best = KeepBest(self.recipe.select_by, self.recipe.early_stop_patience)
        module, data = self._parts(head, splits, mean)
        trainer = self._trainer([StartAlike(), best, *([] if self.run_folder is None else [TellEpochs(best)])])
        checkpoint = newest_checkpoint(self.run_folder) if resume else None
        with lightning_manners(trainer):
            if checkpoint is None:
                trainer.validate(module, data, verbose=False)
            if learns:
                trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
                if best.validated < best.batches:  # it ended between two validations
                    trainer.validate(module, data, verbose=False)
                best.note_end(trainer)
        kept = cast(Head, module.head)
        best.restore(kept)
        return kept, Course(best.best_figures, best.best_passes, best.passes, best.ended, self.recipe.batch_size)

    def again(self, head: Head, splits: PairSplits, mean: Tensor, passes: float) -> Head:
        """Train for so many passes over the pairs, which may be a fraction; nothing is chosen."""
        module, data = self._parts(head, splits, mean)
        trainer = self._trainer([StartAlike(), StopAfter(passes)])
        with lightning_manners(trainer):
            trainer.fit(module, data, weights_only=True)
        return cast(Head, module.head)

    def _parts(self, head: Head, splits: PairSplits, mean: Tensor) -> tuple[AlignmentModule, PairDataModule]:
        loss = copy.deepcopy(self.loss)  # a memory bank must not carry over into a second fit
        others = sample_of_teacher(splits.train, self.seed)
        module = AlignmentModule(
            head, loss, mean, len(splits.validation), self.recipe, self.seed, others, self.device.rough_products
        )
        uses_negatives = bool(getattr(loss, "uses_negatives", False))
        return module, PairDataModule(splits, self.recipe.batch_size, self.seed, with_negatives=uses_negatives)

    def _meet(self) -> Team:
        trainer = self._trainer([])
        with lightning_manners(trainer):
            return join(trainer)

    def _trainer(self, callbacks: list[Any]) -> Trainer:
        return build_trainer(self.recipe, self.device, callbacks, self.run_folder, self.trainer_settings)
