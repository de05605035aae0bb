"""Check settings that somebody else may have written: at each place they may describe only what our YAMLs do."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from typing import Any

from alignkit.commandline.conf import group_choices, yaml_of
from alignkit.credentials import redacted
from alignkit.errors import ConfigError
from alignkit.parts import TARGET
from alignkit.setting_names import SIDES

# whose YAMLs describe the parts that stand within a part of a group
_GROUP_WITHIN = {"data": "embedder", "loss": "loss"}
# an embedder of the command, as the YAMLs of `data` name it
_SIDES = tuple(f"${{oc.select:{side}}}" for side in SIDES)
_LONGEST_SHOWN = 80


def check_part(place: str, node: Any, group: str) -> None:
    """Check that a part is one of its group, and that its settings are those of our YAMLs and of the same shape.

    Args:
        place: for messages.
        node: of the settings.
        group: whose YAMLs say what it may be.

    Raises:
        ConfigError: if it is anything else; nothing of it was built.
    """
    if not isinstance(node, dict):
        raise ConfigError(f"{place}: expected settings, got {_shown(node)}")
    target = str(node.get(TARGET))
    ours = nodes_of(group).get(target)
    if ours is None:
        raise ConfigError(f"{place}: names {_shown(target)}, which is no {group} of alignkit; it is not run")
    for key, value in node.items():
        described = [yaml[key] for yaml in ours if key in yaml]
        if not described:
            raise ConfigError(f"{place}.{key}: {target} has no such setting; it is not run")
        if str(key).startswith("_"):
            if value not in described:
                raise ConfigError(f"{place}.{key}: expected {described[0]}, got {_shown(value)}; it is not run")
        else:
            _check_value(f"{place}.{key}", value, described[0], _GROUP_WITHIN.get(group, ""))


def check_values(place: str, node: Any) -> None:
    """Check that these are plain values: nothing in them is a part to build.

    Raises:
        ConfigError: if anything is.
    """
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        if str(key).startswith("_"):
            raise ConfigError(f"{place}: describes a part to build, where there is none; it is not run")
        check_values(f"{place}.{key}", value)


@functools.cache
def nodes_of(group: str) -> Mapping[str, list[dict[str, Any]]]:
    """Every part that the YAMLs of a group describe, nested ones included, by target."""
    found: dict[str, list[dict[str, Any]]] = {}
    for choice in group_choices(group):
        for node in _parts(yaml_of(group, choice)):
            found.setdefault(str(node[TARGET]), []).append(node)
    return found


def _parts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if TARGET in node:
            yield node
        for value in node.values():
            yield from _parts(value)


def _check_value(place: str, value: Any, ours: Any, group: str) -> None:
    """Expect a part where our YAML has one or refers to one, a mapping where it has one, else plain values."""
    if ours in _SIDES or (isinstance(ours, dict) and TARGET in ours):
        check_part(place, value, group)
    elif isinstance(ours, dict) and any(isinstance(one, dict) and TARGET in one for one in ours.values()):
        if not isinstance(value, dict):
            raise ConfigError(f"{place}: expected settings, got {_shown(value)}")
        for name, one in value.items():
            check_part(f"{place}.{name}", one, group)
    elif isinstance(value, dict) and not isinstance(ours, dict):
        raise ConfigError(f"{place}: expected a value, got {_shown(value)}; it is not run")
    else:
        check_values(place, value)


def _shown(value: Any) -> str:
    return redacted(" ".join(str(value).split())[:_LONGEST_SHOWN])
