"""Settings that are texts: which they are, and how Hydra gets them letter for letter.

Hydra's grammar reads `2024_05` as a number, `a,b` as a sweep, drops spaces and backslashes, and OmegaConf fills in
`${…}`. A setting whose type is a text takes what follows its `=` as it is.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from alignkit.commandline.annotated import texts_of
from alignkit.commandline.conf import group_choices, leaves, mounts_of, yaml_of
from alignkit.parts import TARGET

# of Hydra's own; ${now:…} and its like are filled in
HYDRA_TEXTS = frozenset(
    f"hydra.{name}" for name in ("run.dir", "sweep.dir", "sweep.subdir", "output_subdir", "job.name")
)
_INTERPOLATION = re.compile(r"(\\*)\$\{")
_QUOTE_OR_END = re.compile(r"(\\*)('|\Z)")


def as_literal(text: str, interpolate: bool = False) -> str:
    r"""A value of Hydra's grammar that is this very text.

    Args:
        text: any.
        interpolate: leave `${…}` to OmegaConf.

    >>> print(as_literal("it's 2024_05"))
    'it\'s 2024_05'
    """
    if not interpolate:
        text = escaped(text)
    # inside Hydra's quotes a backslash is itself, unless a quote or the end follows
    return "'" + _QUOTE_OR_END.sub(lambda found: found[1] * 2 + (r"\'" if found[2] else ""), text) + "'"


def escaped(node: Any) -> Any:
    r"""A copy of nested values in which OmegaConf fills nothing in.

    >>> print(escaped({"path": "costs ${x}"})["path"])
    costs \${x}
    """
    if isinstance(node, str):
        return _INTERPOLATION.sub(lambda found: found[1] * 2 + "\\${", node)
    if isinstance(node, Mapping):
        return {key: escaped(value) for key, value in node.items()}
    return [escaped(value) for value in node] if isinstance(node, list | tuple) else node


@functools.cache
def texts_of_group(place: str, group: str) -> dict[str, bool]:
    """Settings of a group that are texts, by dotted name; whether `null` means none.

    A setting is a text where the parameter of the same name is annotated so in what the YAML's `_target_` names.
    """
    found: dict[str, bool] = {}
    for choice in group_choices(group):
        for name, nullable in _texts_of_node(yaml_of(group, choice), place).items():
            found[name] = found.get(name, False) or nullable
    return found


def text_settings(command: str, own: Mapping[str, bool], places: set[str]) -> dict[str, bool]:
    """Every setting of a command that is a text, with whether `null` means none.

    Args:
        command: its name.
        own: texts among the settings of its own YAML.
        places: of the groups to look into.
    """
    found = dict(own)
    for mount in mounts_of(command):
        if mount.place in places and not mount.optional:
            found |= texts_of_group(mount.place, mount.group)
    return found


def may_be_empty(command: str, name: str) -> bool:
    """Whether a text may be empty: yes if it is empty in one of our YAMLs, as prompts are."""
    place, _, within = name.partition(".")
    mounts = [mount for mount in mounts_of(command) if mount.place == place and within and not mount.optional]
    return any(
        dict(leaves(yaml_of(mount.group, choice))).get(within) == ""
        for mount in mounts
        for choice in group_choices(mount.group)
    )


def own_texts(settings: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, bool]:
    """The named settings of a command's own YAML; `null` means none where it is the default."""
    values = dict(leaves(settings))
    return {name: values.get(name, "") is None for name in names}


def _texts_of_node(node: Mapping[str, Any], place: str) -> dict[str, bool]:
    found: dict[str, bool] = {}
    texts = texts_of(str(node[TARGET])) if TARGET in node else {}
    for key, value in node.items():
        name = f"{place}.{key}"
        if isinstance(value, Mapping):
            found |= _texts_of_node(value, name)
        elif key in texts:
            found[name] = texts[key]
    return found
