"""Of `choose`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from alignkit.embedders.base import ROLES
from alignkit.setting_rules import SEED, Rule, check, one_of, whole

SUFFIXES = (".txt", ".jsonl")
RULES = {
    "budget": whole(1),
    "role": one_of(ROLES),
    "seed": SEED,
    "out": Rule(lambda value: PurePath(str(value)).suffix.lower() in SUFFIXES, "a file that ends in .txt or .jsonl"),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
