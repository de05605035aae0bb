"""The command `train`: what is done once its words have been read."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from alignkit.commandline import choice_of
from alignkit.commandline.data import build_data, build_forgotten
from alignkit.commandline.priced import cost_of_calls
from alignkit.commandline.resumed import begin_run, config_yaml, named_under, resume_command
from alignkit.commandline.sides import PACKAGED_SIDES, complete_sides
from alignkit.commandline.training_results import report
from alignkit.commands.rules.train import check_settings
from alignkit.costs import price_of
from alignkit.errors import AlignkitError, ConfigError
from alignkit.estimator.next_step import MOST_PAIRS, with_curve
from alignkit.estimator.plan import early_team, make_plan
from alignkit.estimator.second_source import add_extra
from alignkit.estimator.trained import Trained, carry_out
from alignkit.estimator.updating import Update
from alignkit.evaluation.leak_checks import leaks_of_splits
from alignkit.heads.kept_moments import LAMBDA
from alignkit.pairs.base import PairSplits
from alignkit.runs.folder import claim_run_folder
from alignkit.training.processes import is_main_process
from alignkit.training.team import end_quietly

logger = logging.getLogger("alignkit.train")


def main(config: DictConfig) -> float | None:
    """Compose the parts, fit, report; returns the figure that a sweeper optimises."""
    if config.resume is None:
        is_demo = choice_of("data", config.data) == "demo"
        complete_sides(config, None, otherwise={"student": "table" if is_demo else PACKAGED_SIDES["student"]})
    folder, settings, resume = begin_run(config)
    check_settings(settings)
    price_of(settings.get("teacher"))
    update, settings = _begun_update(settings, resume=resume)
    start = time.perf_counter()
    team = early_team(settings)
    with team.first_ahead():  # what the data still has to embed is embedded once
        splits = build_data(settings)
    if not isinstance(splits, PairSplits):
        data = choice_of("data", settings["data"])
        raise ConfigError(
            f"data={data} is a test set without training pairs, for evaluate; train with data=demo, vectors, cached, "
            "built or index"
        )
    if update is not None:
        update, splits = update.new_pairs(splits, settings["trainer"]["max_epochs"])
    leaks = leaks_of_splits(splits)
    seconds = {"loading": time.perf_counter() - start}
    if settings.get("extra"):  # a run that an older version began has no such setting
        start = time.perf_counter()
        with team.first_ahead():
            extra = build_data(settings, "extra")
        if not isinstance(extra, PairSplits):
            raise ConfigError(f"extra={choice_of('data', settings['extra'])} is a test set without training pairs")
        splits = add_extra(settings, splits, extra)
        seconds["extra"] = time.perf_counter() - start
    plan = make_plan(settings, splits, folder, update)
    if is_main_process() and not resume:
        claim_run_folder(folder, config_yaml(dict(plan.settings)))
    logger.info("device: %s", plan.fitter.device.reason)
    try:
        trained = carry_out(plan, splits, leaks=leaks, resume=resume, seconds=seconds)
        if trained is None:
            return None
        trained = _with_curve(trained, splits, settings, update)
        report(folder, plan.settings, splits, trained, "head and report: {folder}")
    except KeyboardInterrupt:
        if not is_main_process():
            end_quietly()
        raise AlignkitError(f"interrupted; go on with: {resume_command(folder, settings)}") from None
    return trained.validation.get(settings["objective"])


def _with_curve(trained: Trained, splits: PairSplits, settings: Mapping[str, Any], update: Update | None) -> Trained:
    """With what more calls of the teacher would bring, where it was asked for; new pairs alone do not tell."""
    cost = cost_of_calls(settings, splits)
    asked = settings.get("learning_curve")  # a run that an older version began has no such setting
    if asked is None:
        by_calls = cost is not None or choice_of("data", settings["data"]) in ("cached", "built")
        asked = by_calls and len(splits.train) <= MOST_PAIRS
    return with_curve(trained, splits, cost=cost, seed=settings["seed"]) if asked and update is None else trained


def _begun_update(settings: dict[str, Any], *, resume: bool) -> tuple[Update | None, dict[str, Any]]:
    """The run that is updated, without the pairs to be forgotten, and the settings that it asks for."""
    forgotten = build_forgotten(settings)
    if not settings.get("update"):
        if forgotten is not None:
            raise ConfigError("forget takes pairs out of a run that kept its sums; name it as update=RUN")
        return None, settings
    update = Update.of(settings["update"])
    # a run that goes on has the settings of its folder, λ among them
    settings = update.settings(settings, {f"model.{LAMBDA}"} if resume else named_under("model"))
    return update if forgotten is None else update.without(forgotten), settings
