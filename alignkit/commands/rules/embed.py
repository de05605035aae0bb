"""Of `embed`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.cache.vector_cache import DTYPES
from alignkit.embedders.base import ROLES
from alignkit.errors import ConfigError
from alignkit.runs.folder import expect_head
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
        ArtifactError: if a head is needed and is not there.
    """
    check(settings, RULES)
    if settings.get("action") in ("embed", "forget") and settings.get("sentences") is None:
        raise ConfigError("sentences is not set; give it as sentences=FILE (.txt, .jsonl, .csv, .tsv or .parquet)")
    if settings.get("action") == "embed" and settings.get("which") == "aligned":
        if settings.get("head") is None or settings.get("save_to") is None:
            raise ConfigError("which=aligned needs head=RUN_OR_HEAD and save_to=FOLDER")
        expect_head(settings["head"])
