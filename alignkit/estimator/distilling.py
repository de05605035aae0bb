"""Distil a student of one's own: the head alone, then student and head together, and the better of the two is kept."""

from __future__ import annotations

import copy
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from alignkit.artifact import Artifact
from alignkit.cache import CachedEmbedder, VectorCache
from alignkit.distillation.more_texts import MoreTexts, with_more_texts
from alignkit.distillation.recipes import recipe_for
from alignkit.distillation.tokens import Tokenize, Tokens
from alignkit.distillation.trainable import check_layers_of_table, trainable
from alignkit.distillation.trainable_student import TrainableStudent
from alignkit.distillation.tuning import Tuned, tune
from alignkit.embedders.base import Embedder, Role
from alignkit.embedders.distilled import DistilledEmbedder
from alignkit.embedders.sameness import same_vectors
from alignkit.errors import AlignkitError, ConfigError
from alignkit.estimator.plan import Plan, fitter_of, make_plan
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
from alignkit.runs.table_report import TableReport
from alignkit.setting_names import settings_under
from alignkit.student_files import START, STUDENT
from alignkit.training.device import choose_device
from alignkit.training.fit import FitResult
from alignkit.training.processes import as_launched
from alignkit.training.recipe import Recipe

logger = logging.getLogger(__name__)

# settings of the optimisation are those of training both together; the head alone has its own recipe
_OF_TUNING = ("batch_size", "lr", "weight_decay", "schedule", "warmup_fraction", "early_stop_patience")
_OF_BOTH = ("precision", "devices", "num_nodes", "strategy", "deterministic", "enable_progress_bar")
NOT_TIMED = "distill does not time it; evaluate does"


@dataclass(frozen=True)
class Task:
    """What is distilled, and where to.

    Attributes:
        settings: plain values, as in `conf/distill.yaml`.
        splits: texts with the teacher's vectors.
        leaks: what the leak check said.
        folder: of the run.
        make_teacher: builds the teacher; called only where it is asked for something.
        unlike: texts that the student is not trained for, and what they are called.
        resume: go on from what lies in the folder.
        more: training texts that were made up out of the others.
        tokenize: tokenises texts, in this process or by workers.
    """

    settings: Mapping[str, Any]
    splits: PairSplits
    leaks: str
    folder: Path
    make_teacher: Callable[[], Embedder]
    unlike: tuple[Sequence[str], str]
    resume: bool = False
    more: MoreTexts = MoreTexts()
    tokenize: Tokenize = Tokens.of

    @property
    def role(self) -> Role:
        """Whose prompt made the vectors."""
        return self.settings["data"].get("role", "document")

    @property
    def seed(self) -> int:
        """Of everything that is drawn."""
        return int(self.settings["seed"])

    @property
    def trains(self) -> bool:
        """Whether anything is trained beyond the closed form."""
        return self.settings["trainer"].get("max_epochs") != 0


@dataclass(frozen=True)
class Start:
    """The student before it is trained.

    Attributes:
        embedder: gives its vectors.
        table: how it was made; `None` where it was not made here.
    """

    embedder: Embedder
    table: TableReport | None = None


def check_task(settings: Mapping[str, Any], splits: PairSplits, student: Embedder | None) -> None:
    """Refuse what cannot work before anything is computed or written.

    Args:
        settings: as `Task` has them.
        splits: as `Task` has them.
        student: `None` where it will be made.

    Raises:
        ConfigError: if settings are incompatible, or the student cannot be trained.
    """
    if student is None:
        check_layers_of_table(settings["train_layers"], settings["lora"])
    else:
        trainable(student, train_layers=settings["train_layers"], lora=settings["lora"])
    if "candidates" in settings["model"]:
        return
    width = student.dim if student is not None else splits.train.teacher_dim
    train, held_out, test = (
        replace(part, student=np.broadcast_to(np.float32(0), (len(part), width))) for part in splits.parts
    )
    placeholder = PairSplits(train, held_out, test, splits.origin)
    for told in (settings, _of_head_alone(settings)):
        fitter_of(told, settings["model"], None).check(placeholder)


def make_start(task: Task) -> Start:
    """A table made from nothing but the teacher and the training texts; what an interrupted run made is taken up.

    Raises:
        ConfigError: if the teacher is not the one whose vectors the texts have.
        AlignkitError: if the teacher fails, or the disk is full.
    """
    from alignkit.tables.making import make_table

    place, settings, train = task.folder / START / STUDENT, task.settings, task.splits.train
    if (place / "modules.json").is_file() and (made := TableReport.read(place)) is not None:
        return Start(DistilledEmbedder(place), made)
    teacher = _teacher_of(task)
    try:
        report = make_table(
            list(train.texts or ()), teacher, settings["cache_dir"], place,
            vectors=train.teacher, budget=settings["budget"], tables=settings["tables"], role=task.role, seed=task.seed,
        )  # fmt: skip
    finally:
        teacher.close()
    logger.info(
        "table: %s entries, %s dimensions, %s calls of the teacher (%s without a budget), in %.0f s beside these",
        f"{report.entries:,}", report.width, f"{report.calls:,}", f"{report.wanted:,}", report.seconds,
    )  # fmt: skip
    report.save()
    return Start(DistilledEmbedder(place), report)


def with_made_up_texts(task: Task, start: Start) -> Task:
    """The same task with the made-up training texts that its settings ask for, within what is left of the budget.

    A table is made before: fitted to made-up texts too, it is a point better on CLINC150 and seven worse on Cranfield.

    Args:
        task: whose training texts are all the user's own.
        start: the student before it is trained.

    Raises:
        ConfigError: if the teacher is not the one whose vectors the texts have.
        AlignkitError: if the teacher fails, or the disk is full.
    """
    settings, entries = task.settings, 0 if start.table is None else start.table.asked
    share = settings.get("augment")  # a run that an older version began has no such setting
    if not share:
        return task
    teacher, left = _teacher_of(task), settings["budget"] - entries
    try:
        splits, more = with_more_texts(
            task.splits, teacher, settings["cache_dir"],
            share=share, most=left, role=task.role, seed=task.seed, avoid=task.unlike[0],
        )  # fmt: skip
    finally:
        teacher.close()
    said = f"{more.texts:,} made-up training texts, {more.calls:,} calls of the teacher"
    if left < more.wanted:
        first = 0 if start.table is None else start.table.wanted
        of_table = f" for {first:,} entries of the table and these" if first else ""
        logger.warning(
            "%s; augment=%g would make %s, which takes budget=%d%s",
            said, share, f"{more.wanted:,}", first + more.wanted, of_table,
        )  # fmt: skip
    else:
        logger.info("%s", said)
    return replace(task, splits=splits, more=more)


def _teacher_of(task: Task) -> Embedder:
    teacher, known = task.make_teacher(), task.splits.origin.teacher_identity
    try:
        if known is None or same_vectors(known, identity := teacher.identity(task.role)):
            return teacher
        raise ConfigError(
            f"teacher={identity.get('model')}: the texts have vectors of {known.get('model')}, and those of another "
            "teacher do not go with them; name the same teacher"
        )
    except AlignkitError:
        teacher.close()
        raise


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
    plan = make_plan(_of_head_alone(task.settings), splits, task.folder / START)
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


def _of_head_alone(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with which `train` would fit the head; without training there is no training of the head either."""
    trainer = {name: settings["trainer"][name] for name in _OF_BOTH if name in settings["trainer"]}
    trainer["max_epochs"] = 0 if settings["trainer"].get("max_epochs") == 0 else None
    return {**settings, **dict.fromkeys(_OF_TUNING), "trainer": trainer}


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
