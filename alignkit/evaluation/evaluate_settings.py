"""Settings of `evaluate`, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.errors import ConfigError
from alignkit.evaluation.evaluate_rules import RULES
from alignkit.evaluation.requirements import check_requirements
from alignkit.evaluation.verdict import Thresholds
from alignkit.setting_rules import Rule, check, is_number


def check_settings(settings: Mapping[str, Any]) -> Thresholds:
    """Check the settings of `conf/evaluate.yaml`.

    Returns:
        The thresholds of the verdict.

    Raises:
        ConfigError: for the first setting that cannot be used.
    """
    check(settings, RULES)
    check_requirements(settings["require"])
    return thresholds_of(settings["thresholds"])


def thresholds_of(given: object) -> Thresholds:
    """The thresholds of the verdict.

    Raises:
        ConfigError: if they are no numbers, or out of order.
    """
    names = tuple(Thresholds.__dataclass_fields__)
    if not isinstance(given, Mapping) or not set(given) <= set(names):
        raise ConfigError(f"thresholds={given}: expected numbers named {' and '.join(names)}")
    check(given, dict.fromkeys(names, Rule(is_number, "a number above 0 and at most 1")), "thresholds")
    return Thresholds(**given)
