"""Embedders by the name of their YAML, and the one that a head was trained with by what the head records of it.

What comes from a file is never more than a value: it names no class, no server and no key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignkit.embedders.base import Embedder
from alignkit.errors import ConfigError
from alignkit.parts import TARGET, build_part, group_choices, settings_of_part
from alignkit.setting_names import SettingNames

GROUP = "embedder"
# what an identity says that a YAML can be told, by name there; where a server is and which key it wants, only the user
# says
SETTINGS: dict[str, tuple[str, type]] = {
    "model": ("model", str),
    "query_prompt": ("prompt", str),
    "document_prompt": ("prompt", str),
    "dimensions": ("dimensions", int),
    "normalize": ("normalize", bool),
    "truncate": ("truncate", bool),
}
# models of installed packages: name and number of layers → the YAML
PACKAGED = {("all-MiniLM-L6-v2", None): "minilm", ("all-MiniLM-L6-v2", 2): "two_layer"}
_MISSING = "???"


def named_embedder(given: Mapping[str, Any]) -> Embedder:
    """Build an embedder from its name and settings, as a command does.

    Args:
        given: `{"embedder": "ollama", "model": "bge-m3"}`: the name of a YAML, and settings that it has.

    Raises:
        ConfigError: for an unknown name or setting, or one that has to be set and is not.

    >>> named_embedder({"embedder": "static"}).dim
    256
    """
    embedder: Embedder = build_part(checked_settings(given))
    return embedder


def checked_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a named embedder, while nothing is built.

    Raises:
        ConfigError: as `named_embedder`.
    """
    names, known = SettingNames(), group_choices(GROUP)
    settings = {name: value for name, value in given.items() if name != GROUP}
    name = given.get(GROUP)
    if name not in known:
        raise ConfigError(f"{names(GROUP)}={name}: expected one of {', '.join(known)}")
    ours = settings_of_part(GROUP, str(name), 0)
    has = [one for one in ours if one != TARGET]
    if unknown := [one for one in settings if one not in has]:
        raise ConfigError(f"{names(str(unknown[0]))}: {name} has no such setting; it has {', '.join(has)}")
    settings = {**ours, **settings}
    if unset := [one for one in has if settings[one] == _MISSING]:
        raise ConfigError(f"{names(unset[0])} is not set; {name} needs it")
    return settings


def recorded_embedder(identity: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Name and settings of the embedder that an identity describes.

    Returns:
        As `named_embedder` takes them; `None` where the identity does not say enough, as for a folder on another
        machine, an object of the user's own, or bare vectors.

    >>> recorded_embedder({"backend": "ollama", "model": "bge-m3", "prompt": "", "normalize": True})
    {'embedder': 'ollama', 'model': 'bge-m3'}
    """
    name = None if identity is None else choice_of_identity(identity)
    if name is None or identity is None:
        return None
    ours = settings_of_part(GROUP, name, 0)
    settings = ours | {key: value for key, value in told_settings(identity) if key in ours}
    if any(value == _MISSING for value in settings.values()) or settings.get("path", name) is None:
        return None
    return {GROUP: name, **{key: value for key, value in settings.items() if value != ours[key]}}


def choice_of_identity(identity: Mapping[str, Any]) -> str | None:
    """The YAML of an embedder; None where the identity does not say enough."""
    backend = identity.get("backend")
    if backend == "sentence_transformer":
        return PACKAGED.get((str(identity.get("model")), identity.get("layers")))
    # alignkit.embedders.<backend>.<Class>
    modules = {one: str(settings_of_part(GROUP, one, 0)[TARGET]).split(".")[-2] for one in group_choices(GROUP)}
    return next((one for one, module in modules.items() if module == backend), None)


def told_settings(identity: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What an identity says that a YAML can be told: settings by name."""
    for name, (told, kind) in SETTINGS.items():
        if type(value := identity.get(told)) is kind:
            yield name, value
