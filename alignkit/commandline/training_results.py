"""What every command that trains leaves and prints when it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from alignkit.commandline.results import Screen
from alignkit.credentials import without_secrets
from alignkit.estimator.trained import Trained
from alignkit.estimator.training_report import save_run
from alignkit.language.speaking import say
from alignkit.pairs.base import PairSplits
from alignkit.reporting.console import console_words
from alignkit.reporting.events import log_evaluation
from alignkit.reporting.figure_tables import console_table, markdown_table
from alignkit.training.tensorboard import log_result

logger = logging.getLogger(__name__)


def report(folder: Path, settings: Mapping[str, Any], splits: PairSplits, trained: Trained, kept: str) -> None:
    """Write the run folder, then show the table and the verdict.

    Args:
        folder: of the run.
        settings: of the command.
        splits: the pairs.
        trained: what was trained.
        kept: what lies in the folder, in words, with a field for it.
    """
    result = trained.result
    figures = {name: value for name, value in result.rows[result.product.row].to_json().items() if value is not None}
    tagged = {f"test/{name}": value for name, value in figures.items()}
    cosines = torch.from_numpy(result.cosines[result.product.row])
    save_run(
        folder, trained.artifact, trained.baselines, splits, trained.sample, result,
        html=settings["html"], update=trained.update,
    )  # fmt: skip
    try:
        log_evaluation(result, folder)
        log_result(folder, without_secrets(dict(settings)), cosines, markdown_table(result), tagged)
    except OSError as error:
        logger.warning("%s: TensorBoard's events could not be written (%s)", folder, error.strerror)
    console = Screen(80)
    console.print(console_table(result, say("Test split, {pairs:,} pairs", pairs=len(splits.test))))
    console.print()
    for line in console_words(result):
        console.print(line, markup=False)
    console.print(f"\n{say(kept, folder=folder)}", soft_wrap=True, markup=False)
