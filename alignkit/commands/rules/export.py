"""Of `export`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.embedders.base import ROLES
from alignkit.exporters.formats import formats
from alignkit.setting_rules import SWITCH, check, number_above, one_of

RULES = {
    "format": one_of(formats()),
    "role": one_of(ROLES),
    "allow_student_mismatch": SWITCH,
    "tolerance": number_above(0).or_null("the format's"),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
