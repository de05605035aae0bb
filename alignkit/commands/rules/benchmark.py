"""Of `benchmark`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.sentences.beir import DOCUMENTS
from alignkit.setting_rules import SEED, SWITCH, Rule, check, one_of, whole

ROWS = ("teacher", "aligned", "aligned_both", "student")


def _are_rows(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(one in ROWS for one in value) and len({*value}) == len(value)


RULES = {
    "tasks": Rule(
        lambda value: (
            isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))
        ),
        "names of tasks and folders, as in [faq,NFCorpus]",
    ),
    "rows": Rule(_are_rows, f"some of [{','.join(ROWS)}]"),
    "document": one_of(DOCUMENTS),
    "seed": SEED,
    "resamples": whole(1),
    **dict.fromkeys(("html", "allow_student_mismatch"), SWITCH),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
