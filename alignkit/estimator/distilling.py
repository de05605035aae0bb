"""Distil a student of one's own: the head alone, then student and head together, and the better of the two is kept."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from alignkit.artifact import Artifact
from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.distillation.recipes import recipe_for
from alignkit.distillation.trainable import trainable
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.distillation.tuning import Tuned, tune
from alignkit.embedders.base import Embedder
from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.embedders.sameness import same_vectors
from alignkit.errors import AlignkitError
from alignkit.estimator.distill_task import Start, Task, of_head_alone
from alignkit.estimator.plan import Plan, make_plan
from alignkit.estimator.trained import Trained, complete
from alignkit.evaluation.before import Before
from alignkit.evaluation.embedding_time import embedding_time, embedding_times
from alignkit.evaluation.forgotten import check_forgetting
from alignkit.evaluation.student_record import StudentRecord
from alignkit.files import let_others_read, move, refused, unfinished_name
from alignkit.heads.base import Head
from alignkit.pairs.base import PairSplits
from alignkit.pairs.embedded import with_student
from alignkit.pairs.searched_corpus import set_of_splits
from alignkit.parts import build_part, settings_of_part
from alignkit.setting_names import settings_under
from alignkit.student_files import START, STUDENT
from alignkit.training.device import choose_device
from alignkit.training.fit import FitResult
from alignkit.training.processes import as_launched
from alignkit.training.recipe import Recipe

logger = logging.getLogger(__name__)

NOT_TIMED = "distill does not time it; evaluate does"


def distill(
    task: Task, start: Start, on_plan: Callable[[Mapping[str, Any]], None], seconds: Mapping[str, float]
) -> tuple[Trained, PairSplits, Mapping[str, Any]] | None:
    """Fit the head alone, train student and head together, keep the better, and put both into the run folder.

    Args:
        task: what is distilled.
        start: the untouched student.
        on_plan: given the settings once the head has been chosen, so that a resumed run does not choose again.
        seconds: what was spent before, by step.

    Returns:
        What was kept, the pairs with its student's vectors, and the settings; `None` in all but the first of several
        processes.
    """
    splits = with_student(task.splits, start.embedder, task.role)
    plan = make_plan(of_head_alone(task.settings), splits, task.folder / START)
    on_plan({**task.settings, "model": plan.settings["model"]})
    logger.info("device: %s", plan.fitter.device.reason)
    fit = plan.fitter.fit(splits, refit=task.settings["refit"], resume=task.resume)
    first = fit.is_main_process
    student = trainable(
        start.embedder, train_layers=task.settings["train_layers"], lora=task.settings["lora"], role=task.role
    )
    with fit.team.first_ahead():  # kept before anything is trained, so that it is there whenever training ends
        alone = complete(plan, splits, fit, leaks=task.leaks, seconds=seconds) if task.trains and first else None
    tuned, recipe = _tune(task, start, student, copy.deepcopy(fit.kept), splits) if task.trains else (None, None)
    if not first:
        return None
    save_student(student, task.folder)
    own = DistilledEmbedder(task.folder / STUDENT)
    plan = replace(plan, fitter=replace(plan.fitter, run_folder=task.folder, recipe=recipe or plan.fitter.recipe))
    finish = _Finish(task, start, own, plan, fit, splits, {**seconds, **fit.seconds})
    if alone is not None and tuned is not None and tuned.improved:
        trained, splits = finish.of_tuned(tuned, alone.artifact)
    else:
        trained, splits = finish.of_start(tuned)
    own.close()
    return trained, splits, plan.settings


@dataclass(frozen=True)
class _Finish:
    """What both endings need: the untouched student's `splits` and head `fit`, and the one in `student/`, `own`."""

    task: Task
    start: Start
    own: Embedder
    plan: Plan
    fit: FitResult
    splits: PairSplits
    seconds: Mapping[str, float]

    def of_start(self, tuned: Tuned | None) -> tuple[Trained, PairSplits]:
        """The untouched student with the head alone."""
        identity = self.own.identity(self.task.role)
        splits = replace(self.splits, origin=replace(self.splits.origin, student_identity=identity))
        record = None if tuned is None else (lambda artifact: self._record(tuned, artifact, None))
        seconds = {**self.seconds, **({} if tuned is None else {"tuning": tuned.seconds})}
        trained = complete(
            self.plan, splits, self.fit, leaks=self.task.leaks, seconds=seconds, record=record, table=self.start.table
        )
        return trained, splits

    def of_tuned(self, tuned: Tuned, alone: Artifact) -> tuple[Trained, PairSplits]:
        """The trained student with its head, held against the head alone."""
        splits, seed = with_student(self.splits, self.own, self.task.role), self.task.seed
        fit = replace(
            self.fit, head=tuned.head, kept=tuned.head, best_epoch=tuned.best_epoch, figures=tuned.figures,
            epochs=tuned.epochs, ended=None, refitted=False, seconds={"tuning": tuned.seconds},
            batch_size=tuned.batch_size,
        )  # fmt: skip
        was, now = (set_of_splits(one, seed) for one in (self.splits, splits))
        cost = embedding_time(was, "student", self.start.embedder)
        trained = complete(
            self.plan, splits, fit, leaks=self.task.leaks, seconds=self.seconds,
            embedding=embedding_times(now, {"student": self.own}, {"teacher": NOT_TIMED}),
            before=Before(was, alone, cost), record=lambda artifact: self._record(tuned, artifact, alone),
            table=self.start.table,
        )  # fmt: skip
        return trained, splits

    def _record(self, tuned: Tuned, artifact: Artifact, alone: Artifact | None) -> StudentRecord:
        record = StudentRecord(
            kept=tuned.improved, reason=tuned.reason, epochs=tuned.epochs, best_epoch=tuned.best_epoch,
            seconds=tuned.seconds, texts_per_s=tuned.texts_per_s, teacher_calls=self._teacher_calls(),
        )  # fmt: skip
        if alone is None:
            return record
        before, after = (self.start.embedder, alone), (self.own, artifact)
        known = self.splits.origin.teacher_identity
        try:
            teacher = self.task.make_teacher()
        except AlignkitError as error:
            return replace(record, unchecked=str(error))
        with VectorCache(self.task.settings["cache_dir"]) as cache:
            cached = CachedEmbedder(teacher, cache)
            try:
                if known is None or not same_vectors(known, cached.identity(self.task.role)):
                    return replace(record, unchecked="the teacher at hand is not known to be the one of these vectors")
                texts, source = self.task.unlike
                found, why = check_forgetting(
                    texts, source, cached, before, after, role=self.task.role, seed=self.task.seed
                )
            except AlignkitError as error:  # a training that is done is not thrown away for it
                found, why = None, str(error)
            finally:
                cached.close()
        return replace(record, forgetting=found, unchecked=why)

    def _teacher_calls(self) -> int | None:
        table, more = self.start.table, self.task.more
        return None if table is None and not more.texts else more.calls + (table.calls if table else 0)


def save_student(student: TrainableStudent, folder: Path) -> None:
    """Write `student/`, all of it or nothing.

    Raises:
        AlignkitError: if the disk is full.
    """
    place, unfinished = folder / STUDENT, unfinished_name(folder)
    try:
        student.save(unfinished)
        let_others_read(unfinished)
        shutil.rmtree(place, ignore_errors=True)  # of an attempt that was interrupted later on
        move(unfinished, place)
    except OSError as error:
        raise refused(place, error) from None
    except SafetensorError as error:  # it wraps what the disk says
        raise AlignkitError(f"{place}: could not be written ({error}); free some space and try again") from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _tune(task: Task, start: Start, student: TrainableStudent, head: Head, splits: PairSplits) -> tuple[Tuned, Recipe]:
    settings, trainer = task.settings, dict(task.settings["trainer"])
    recipe = recipe_for(student, head)
    own = Recipe.__dataclass_fields__.keys() - {"loss"}
    given = {name: settings[name] for name in own if name in settings}
    given |= {name: trainer.pop(name) for name in own if name in trainer}
    recipe = recipe.overlay(given)
    if given.get("max_epochs") is not None:  # set explicitly, so used whatever the number of texts
        recipe = replace(recipe, enough_pairs=None)
    loss = dict(settings["loss"])
    if "of" in loss:  # loss=auto
        loss = settings_of_part("loss", recipe.loss, task.seed)
    loss.pop("recipe", None)
    with settings_under("loss"):
        built = build_part(loss)
    device = choose_device(settings["device"]["name"], recipe.precision)
    tuned = tune(
        student, head, splits,
        loss=built, recipe=recipe, device=device, seed=task.seed, run_folder=task.folder, resume=task.resume,
        trainer_settings=as_launched(trainer), student_lr=settings["student_lr"], tokenize=task.tokenize,
    )  # fmt: skip
    logger.info("student: %s", tuned.reason)
    return tuned, recipe
