"""Of `distill`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.distillation import student_rules
from alignkit.setting_rules import check, number_above, number_from, whole
from alignkit.training import run_settings

RULES = {
    **run_settings.RULES,
    **student_rules.RULES,
    "budget": whole(1),
    "augment": number_from(0),
    "student_lr": number_above(0).or_null("which takes the student's own"),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what is wrong whatever the data.

    Raises:
        ConfigError: for the first such setting.
    """
    run_settings.check_settings(settings)
    check(settings, RULES)
