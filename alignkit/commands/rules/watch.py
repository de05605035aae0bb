"""Of `watch`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.setting_rules import SEED, SWITCH, check, whole

RULES = {"budget": whole(0), "seed": SEED, "html": SWITCH}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
