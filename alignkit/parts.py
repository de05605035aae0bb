"""Find the YAML of a part by name, read its settings, and build the part from them."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from alignkit.errors import AlignkitError, ConfigError
from alignkit.setting_names import MOUNTED, SettingNames, settings_under
from alignkit.setting_rules import check, one_of

TARGET, PARTIAL = "_target_", "_partial_"
# what settings say of a part, and the part does not get: see `alignkit.costs`
PRICE = "price_per_million_tokens"
SEED = "${seed}"


def conf_folder() -> Path:
    """The folder of YAMLs: inside the installed package, else beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    packaged = package / "conf"
    return packaged if packaged.is_dir() else package.parent / "conf"


def group_choices(group: str) -> list[str]:
    """Names of the YAMLs of a group, sorted; empty where there is no such group."""
    return sorted(path.stem for path in (conf_folder() / group).glob("*.yaml"))


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML of ours as it stands, nothing interpolated; by libyaml where it is there, which is ten times as fast."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = yaml.load(path.read_text(encoding="utf-8"), loader)
    return found if isinstance(found, dict) else {}


def settings_of_part(group: str, name: str, seed: int) -> dict[str, Any]:
    """What the YAML of a head or a loss sets.

    Args:
        group: `model` or `loss`.
        name: of the YAML.
        seed: what `${seed}` in it becomes.

    Raises:
        ConfigError: if the group has no such YAML; the message lists those that it has.
    """
    check({group: name}, {group: one_of(group_choices(group))}, "")
    return _with_seed(read_yaml(conf_folder() / group / f"{name}.yaml"), seed)


def settings_of_command(name: str) -> dict[str, Any]:
    """What a command's own YAML sets, without its groups."""
    found = read_yaml(conf_folder() / f"{name}.yaml")
    return {key: value for key, value in found.items() if key != "defaults"}


def _with_seed(node: Any, seed: int) -> Any:
    if isinstance(node, dict):
        return {key: _with_seed(value, seed) for key, value in node.items()}
    return seed if node == SEED else node


def build_part(settings: Any) -> Any:
    """What the settings' `_target_` names, called with the rest of them; parts within are built first.

    Nothing in the settings is interpolated, so that a text from a user or from a file stays the text that it is.

    Args:
        settings: plain values; a mapping with `_partial_: true` becomes a `functools.partial`.

    Raises:
        AlignkitError: whatever the part says against its settings.
    """
    if isinstance(settings, list):
        return [build_part(value) for value in settings]
    if not isinstance(settings, Mapping):
        return settings
    values, called = {}, SettingNames()
    for key, value in settings.items():
        if key not in (TARGET, PARTIAL, PRICE):
            # `data.student` is `student` on the command line too
            with settings_under(key if key in MOUNTED else called(key)):
                values[key] = build_part(value)
    if TARGET not in settings:
        return values
    try:
        module, _, name = str(settings[TARGET]).rpartition(".")
        called = getattr(importlib.import_module(module), name)
        return functools.partial(called, **values) if settings.get(PARTIAL) else called(**values)
    except AlignkitError:
        raise
    except Exception as error:
        reason = f"{error}".splitlines()[0] if f"{error}" else type(error).__name__
        raise ConfigError(f"{settings[TARGET]}: {reason}") from error
