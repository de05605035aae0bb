"""Of `migrate`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.embedders.base import ROLES
from alignkit.setting_rules import SWITCH, check, one_of

STEPS = ("plan", "copy", "verify", "compare", "cut_over", "roll_back", "drop_old", "give_up", "status")
NEED_HEAD = ("plan", "copy", "verify")
RULES = {"role": one_of(ROLES), "step": one_of(STEPS).or_null(), "force": SWITCH}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
