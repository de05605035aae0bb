"""Of `embed`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.cache.vector_cache import DTYPES
from alignkit.embedders.base import ROLES
from alignkit.setting_rules import SWITCH, check, one_of

ACTIONS = ("embed", "list", "verify", "prune", "merge", "forget")
# one model after the other: two at once would push each other out of memory
WHICH = {
    "teacher": ("teacher",),
    "student": ("student",),
    "both": ("teacher", "student"),
    "aligned": ("student",),  # the head is applied to the student's vectors: these cost, so these are cached
}
RULES = {
    "action": one_of(ACTIONS),
    "which": one_of(WHICH),
    "role": one_of(ROLES),
    "dtype": one_of(DTYPES),
    **dict.fromkeys(("retry_quarantined", "confirm", "allow_student_mismatch"), SWITCH),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
