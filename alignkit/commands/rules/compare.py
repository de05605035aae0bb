"""Of `compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.comparing.found_runs import find_runs, runs_asked
from alignkit.setting_rules import SWITCH, check, one_of
from alignkit.training.run_settings import VALIDATION_FIGURES

RULES = {
    "objective": one_of(VALIDATION_FIGURES).or_null("the measure of the verdicts"),
    "time_embedding": SWITCH,
    "tensorboard": SWITCH,
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what cannot be used: values, and runs that are not there.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
    if "runs" in settings:
        find_runs(runs_asked(settings["runs"]))
