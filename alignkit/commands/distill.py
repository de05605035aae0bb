"""The command `distill`: what is done once its words have been read."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alignkit.commandline import build, choice_of, plain
from alignkit.commandline.data import build_teachers_side
from alignkit.commandline.resumed import begin_run, config_yaml, resume_command
from alignkit.commandline.training_results import report
from alignkit.commandline.workers_asked import workers_of
from alignkit.commands.rules.distill import check_settings
from alignkit.distillation.tokens import Tokens
from alignkit.distillation.tokens_in_parts import TokensInParts
from alignkit.embedders.base import Embedder
from alignkit.errors import AlignkitError
from alignkit.estimator.distill_start import make_start, with_made_up_texts
from alignkit.estimator.distill_task import Start, Task, check_task
from alignkit.estimator.distilling import distill
from alignkit.estimator.plan import early_team
from alignkit.evaluation.leak_checks import leaks_of_splits
from alignkit.files import write_whole
from alignkit.pairs.general_texts import general_texts
from alignkit.runs.folder import CONFIG, claim_run_folder
from alignkit.training.processes import is_main_process
from alignkit.training.team import Team, end_quietly

logger = logging.getLogger("alignkit.distill")

NAME = "distill"


def main(config: DictConfig) -> float | None:
    """Compose the parts, distil, report; returns the figure that a sweeper optimises."""
    named, settings, resume = begin_run(_without_student_vectors(config), NAME)
    check_settings(settings)
    workers = workers_of(plain(config.engine))
    team = early_team(settings)
    folder = team.first(lambda: named)
    started = time.perf_counter()
    splits = build_teachers_side(settings)
    leaks = leaks_of_splits(splits)
    unlike = general_texts(list(splits.train.texts or ()), settings["check_on"], settings["seed"])
    student = None if _is_to_be_made(settings["student"]) else build(settings["student"], "student")
    check_task(settings, splits, student)
    seconds = {"loading": time.perf_counter() - started}
    if is_main_process() and not resume:
        claim_run_folder(folder, config_yaml(settings), NAME)
    tokenize = Tokens.of if workers is None else TokensInParts(workers, folder)
    task = Task(settings, splits, leaks, folder, lambda: _teacher(settings), unlike, resume, tokenize=tokenize)
    try:
        return _distil(task, student, seconds, team)
    except KeyboardInterrupt:
        if not is_main_process():
            end_quietly()
        raise AlignkitError(f"interrupted; go on with: {resume_command(folder, settings, NAME)}") from None


def _distil(task: Task, student: Embedder | None, seconds: dict[str, float], team: Team) -> float | None:
    started = time.perf_counter()
    with team.first_ahead():  # the teacher is asked once; the others find what it gave in the folder and the cache
        start = make_start(task) if student is None else Start(student)
    if student is None:
        seconds["table"] = time.perf_counter() - started
    started = time.perf_counter()
    with team.first_ahead():
        task = with_made_up_texts(task, start)
    if task.more.texts:
        seconds["made-up texts"] = time.perf_counter() - started

    def keep(settings: Mapping[str, Any]) -> None:
        if is_main_process():
            write_whole(task.folder / CONFIG, config_yaml(dict(settings)))

    try:
        found = distill(task, start, keep, seconds)
    finally:
        start.embedder.close()
    if found is None:
        return None
    trained, splits, settings = found
    report(
        task.folder,
        {**task.settings, "model": settings["model"]},
        splits,
        trained,
        "student, head and report: {folder}",
    )
    return trained.validation.get(task.settings["objective"])


def _without_student_vectors(config: DictConfig) -> DictConfig:
    """`data=vectors` wants the student's file, which nobody has before the student is trained."""
    if OmegaConf.is_missing(config.data, "student"):
        config.data.student = None
    return config


def _is_to_be_made(student: Mapping[str, Any]) -> bool:
    return choice_of("embedder", student) == "table" and student.get("path") is None


def _teacher(settings: Mapping[str, Any]) -> Embedder:
    teacher: Embedder = build(settings["teacher"], "teacher")
    return teacher
