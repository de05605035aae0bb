"""Of `export`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.embedders.base import ROLES
from alignkit.errors import ConfigError
from alignkit.exporters.formats import formats
from alignkit.hub.pushing import Destination
from alignkit.setting_rules import SWITCH, check, number_above, one_of

RULES = {
    "format": one_of(formats()).or_null("with push="),
    "role": one_of(ROLES),
    "allow_student_mismatch": SWITCH,
    "tolerance": number_above(0).or_null("the format's"),
    "private": SWITCH.or_null("the account's default"),
    "create_pr": SWITCH,
}
# what a repository on the Hub may hold
PUSHED = ("hub", "sentence_transformers")
OF_PUSH = {"private": None, "revision": None, "create_pr": False}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse what no run could use.

    Raises:
        ConfigError: for the first such setting.
    """
    check(settings, RULES)
    if settings.get("push") is not None:
        Destination.of(settings["push"], *(settings.get(name, default) for name, default in OF_PUSH.items()))
        if settings.get("format") not in (None, *PUSHED):
            raise ConfigError(
                f"format={settings['format']}: push= takes {' or '.join(PUSHED)}; leave format out for {PUSHED[0]}"
            )
        return
    for name in ("format", "out"):
        if settings.get(name) is None:
            raise ConfigError(f"{name} is not set; give it as {name}=...")
    for name, default in OF_PUSH.items():
        if settings.get(name, default) != default:
            shown = str(settings[name]).lower() if isinstance(settings[name], bool) else settings[name]
            raise ConfigError(f"{name}={shown}: without push= nothing is put on the Hub; leave it out")
