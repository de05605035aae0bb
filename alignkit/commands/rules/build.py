"""Of `build`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.setting_rules import Rule, check, is_whole, number_from

RULES = {
    "seed": Rule(is_whole, "a whole number"),
    **dict.fromkeys(("validation", "test"), number_from(0, below=1)),
    "near_duplicate": number_from(0.5, most=1),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
