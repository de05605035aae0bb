"""Of `serve`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.errors import ConfigError
from alignkit.serving import limits
from alignkit.setting_rules import SWITCH, Rule, check, number_above, whole


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


RULES = {
    **limits.RULES,
    "fallback": Rule(lambda value: value in (None, "teacher"), "teacher or null", ("teacher",)),
    "cascade": whole(1, 1000),
    "insecure": SWITCH,
    "page": SWITCH,
    "served_names": Rule(_are_names, "names that clients ask for, such as [text-embedding-3-small]").or_null("none"),
    "query_log_share": number_above(0, 1),
    "query_log_mb": whole(1),
    "query_log_days": number_above(0),
    "allow_student_mismatch": SWITCH,
}
# what conf/serve.yaml says of a log, which only another value asks for
OF_LOG = {"query_log_share": 0.01, "query_log_mb": 100, "query_log_days": 30}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no server could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
    for name, usual in OF_LOG.items():
        if settings.get("query_log") is None and settings.get(name, usual) != usual:
            raise ConfigError(f"{name}={settings[name]}: no effect without a log; name its folder: query_log=FOLDER")
