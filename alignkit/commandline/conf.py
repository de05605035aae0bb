"""The folder of YAMLs: where it is, its groups and their choices, the settings that each YAML has."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from alignkit.parts import TARGET, conf_folder, group_choices, read_yaml

# `student=NAME` on the command line is `embedder@student=NAME` to Hydra
MOUNTED_GROUPS = {
    "student": "embedder@student",
    "teacher": "embedder@teacher",
    "extra": "data@extra",
    "source": "index@source",
    "target": "index@target",
}
_DEFAULTS = "defaults"


@dataclass(frozen=True)
class Mount:
    """Where a command has a group.

    Attributes:
        place: of its settings: `student`.
        group: the folder: `embedder`.
        default: the choice that the command's YAML names, `None` for none.
        optional: filled in by the YAML itself; not chosen on the command line.
    """

    place: str
    group: str
    default: str | None
    optional: bool = False


def yaml_of(*parts: str) -> dict[str, Any]:
    """A YAML of ours as it stands, nothing interpolated: `yaml_of("embedder", "static")`."""
    return copy.deepcopy(_read(*parts))


@functools.cache
def _read(*parts: str) -> dict[str, Any]:
    return read_yaml(conf_folder().joinpath(*parts[:-1], f"{parts[-1]}.yaml"))


def own_settings(name: str) -> dict[str, Any]:
    """What a command's own YAML sets, nested as it stands, without its list of groups."""
    return {key: value for key, value in yaml_of(name).items() if key != _DEFAULTS}


def choice_of(group: str, settings: Mapping[Any, Any]) -> str | None:
    """The YAML of a group that these settings come from, found by `_target_`; `None` for a part that is not ours."""
    target = settings.get(TARGET)
    choices = group_choices(group) if target is not None else ()
    return next((one for one in choices if yaml_of(group, one).get(TARGET) == target), None)


@functools.cache
def mounts_of(name: str) -> tuple[Mount, ...]:
    """The groups of a command, in the order of its YAML."""
    found = []
    for entry in yaml_of(name).get(_DEFAULTS, []):
        if not isinstance(entry, Mapping):
            continue
        (key, default), *_ = entry.items()
        words = str(key).split()
        group, _, place = words[-1].partition("@")
        found.append(Mount(place or group, group, default, "optional" in words))
    return tuple(found)


def mounted_groups(name: str) -> list[str]:
    """The names under which a command mounts a group that it also mounts under another name, or only there."""
    return [mount.place for mount in mounts_of(name) if mount.place in MOUNTED_GROUPS and not mount.optional]


def leaves(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting of a nested mapping by its dotted name; an empty mapping is one setting."""
    if not isinstance(node, Mapping) or not node:
        yield place, node
        return
    for key, value in node.items():
        yield from leaves(value, f"{place}.{key}" if place else str(key))


@functools.cache
def settings_of(name: str) -> dict[str, tuple[str, ...]]:
    """Every setting of a command by its dotted name, with the choices that have it; an empty tuple means always."""
    found: dict[str, tuple[str, ...]] = {place: () for place, _ in leaves(own_settings(name))}
    for mount in mounts_of(name):
        if mount.optional:
            continue
        for choice in group_choices(mount.group):
            for place, _ in leaves(yaml_of(mount.group, choice), mount.place):
                if not place.rpartition(".")[2].startswith("_"):
                    found[place] = (*found.get(place, ()), f"{mount.place}={choice}")
    return found


@functools.cache
def numbers_of(name: str) -> frozenset[str]:
    """Settings of a command's groups, by dotted name, that are a number or a switch in every YAML that sets them."""
    values: dict[str, list[Any]] = {}
    for mount in mounts_of(name):
        for choice in () if mount.optional else group_choices(mount.group):
            for place, value in leaves(yaml_of(mount.group, choice), mount.place):
                values.setdefault(place, []).extend([] if value is None else [value])
    return frozenset(
        place for place, found in values.items() if found and all(isinstance(one, int | float) for one in found)
    )
