"""The command `train`: what is done once its words have been read."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from alignkit.commandline import choice_of, plain, without_secrets
from alignkit.commandline.data import build_data
from alignkit.commandline.results import Screen
from alignkit.commandline.resumed import config_yaml, resume_command, settings_of_run
from alignkit.errors import AlignkitError, ConfigError
from alignkit.estimator.plan import make_plan
from alignkit.estimator.trained import Trained, carry_out
from alignkit.estimator.training_report import save_run
from alignkit.evaluation.leak_checks import leaks_of_splits
from alignkit.pairs.base import PairSplits
from alignkit.reporting.console import console_words
from alignkit.reporting.events import log_evaluation
from alignkit.reporting.figure_tables import console_table, markdown_table
from alignkit.runs.folder import CONFIG, check_resumable, claim_run_folder
from alignkit.training.checks import check_settings
from alignkit.training.processes import is_main_process
from alignkit.training.tensorboard import log_result

logger = logging.getLogger("alignkit.train")


def main(config: DictConfig) -> float | None:
    """Compose the parts, fit, report; returns the figure that a sweeper optimises."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    resume = config.resume is not None
    if resume:
        folder = Path(config.resume).expanduser()
        check_resumable(folder)
        settings = settings_of_run(folder / CONFIG, config)
    else:
        settings = plain(config)
    check_settings(settings)
    start = time.perf_counter()
    splits = build_data(settings)
    if not isinstance(splits, PairSplits):
        data = choice_of("data", settings["data"])
        raise ConfigError(
            f"data={data} is a test set without training pairs, for evaluate; train with data=demo, vectors, cached or "
            "built"
        )
    leaks = leaks_of_splits(splits)
    seconds = {"loading": time.perf_counter() - start}
    plan = make_plan(settings, splits, folder)
    if is_main_process() and not resume:
        claim_run_folder(folder, config_yaml(dict(plan.settings)))
    logger.info("device: %s", plan.fitter.device.reason)
    try:
        trained = carry_out(plan, splits, leaks=leaks, resume=resume, seconds=seconds)
        if trained is None:
            return None
        _report(folder, plan.settings, splits, trained)
    except KeyboardInterrupt:
        raise AlignkitError(f"interrupted; go on with: {resume_command(folder, settings)}") from None
    return trained.validation.get(settings["objective"])


def _report(folder: Path, settings: Mapping[str, Any], splits: PairSplits, trained: Trained) -> None:
    """Write the run folder, then show the table and the verdict."""
    result = trained.result
    figures = {name: value for name, value in result.rows[result.product.row].to_json().items() if value is not None}
    tagged = {f"test/{name}": value for name, value in figures.items()}
    cosines = torch.from_numpy(result.cosines[result.product.row])
    save_run(folder, trained.artifact, trained.baselines, splits, trained.sample, result, html=settings["html"])
    try:
        log_evaluation(result, folder)
        log_result(folder, without_secrets(settings), cosines, markdown_table(result), tagged)
    except OSError as error:
        logger.warning("%s: TensorBoard's events could not be written (%s)", folder, error.strerror)
    console = Screen(80)
    console.print(console_table(result, f"Test split, {len(splits.test):,} pairs"))
    console.print()
    for line in console_words(result):
        console.print(line, markup=False)
    console.print(f"\nhead and report: {folder}", soft_wrap=True, markup=False)
