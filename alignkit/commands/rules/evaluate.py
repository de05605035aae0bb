"""Of `evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.codes.kinds import parse_codes
from alignkit.evaluation.evaluate_rules import RULES
from alignkit.evaluation.requirements import check_requirements
from alignkit.setting_rules import check


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use; thresholds are looked at when the figures are known.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
    check_requirements(settings.get("require"))
    if settings.get("codes") is not None:
        parse_codes(settings["codes"])
