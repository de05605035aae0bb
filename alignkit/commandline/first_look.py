"""What is wrong with a composed config at first sight: said before a command loads what it works with."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from alignkit.commandline.conf import choice_of, mounts_of, own_settings, yaml_of
from alignkit.commandline.named import is_given
from alignkit.credentials import redacted
from alignkit.errors import ConfigError, DataError
from alignkit.parts import PRICE, TARGET
from alignkit.runs.folder import asked_head, check_resumable, expect_head
from alignkit.setting_names import MOUNTED, SIDES

RULES = "alignkit.commands.rules"
_STORAGE = re.compile(r"(?i)(s3|gs|gcs|az|abfs|memory)://")
# what is read by `object_storage`, and the parts whose `path` is
_MAY_BE_ELSEWHERE = {
    "vectors", "sentences", "queries", "corpus", "index_file", "check_on", "student", "teacher", "test_student",
    "test_teacher",
}  # fmt: skip
_PATHS_ELSEWHERE = {
    "alignkit.indexes.parquet.ParquetIndex",
    "alignkit.indexes.lancedb.LancedbIndex",
    "alignkit.pairs.cached.load_cached",
}
_THERE = "files of vectors or sentences, tables of Parquet, LanceDB, and the new file of migrate"
_OF_A_HEAD = {"benchmark", "demo", "evaluate", "export", "serve", "watch"}
# files and folders that a command reads first of all
_READ_FIRST = {"choose": "sentences", "embed": "sentences", "watch": "queries"}
_CHOSEN = re.compile(r"\$\{oc\.select:(\w+)\}")


def look_first(command: str, config: DictConfig) -> None:
    """Refuse values that no run could use: torch takes seconds to load, and a mistake shows without it.

    A part, such as a head, says more of its settings once it is built; here a word for a number is enough.

    Args:
        command: its name.
        config: as it was composed.

    Raises:
        ConfigError: for the first such value, and for a setting of the command itself that is not given.
        ArtifactError: if there is no head where the command needs one.
        DataError: if there is no file that it reads.
    """
    if importlib.util.find_spec(f"{RULES}.{command}") is None:  # it is light, and looks for itself
        return
    _expect_on_disk(command, OmegaConf.to_container(config))
    _expect_a_use(command, config)
    importlib.import_module(f"{RULES}.{command}").check_settings(dict(_own(command, config)))
    for mount in mounts_of(command):
        node = config.get(mount.place)
        if not mount.optional and isinstance(node, DictConfig):
            _check_kinds(mount.group, mount.place, OmegaConf.to_container(node))
    for name in own_settings(command):
        if OmegaConf.is_missing(config, name):
            raise ConfigError(f"{name} is not set; give it as {name}=...")
    _expect_there(command, config)


def _expect_there(command: str, config: DictConfig) -> None:
    """Refuse runs, heads and files that are not there; what lies elsewhere is looked for by the command."""
    if config.get("resume") is not None:
        check_resumable(Path(config.resume).expanduser())
        return  # with its own settings
    if command in _OF_A_HEAD:
        expect_head(asked_head(config.head))
    if config.get("update") is not None:
        expect_head(config["update"])
    path = config.get(_READ_FIRST[command]) if command in _READ_FIRST else None
    if path is not None and not _STORAGE.match(str(path)) and not Path(str(path)).expanduser().exists():
        raise DataError(f"there is no file {Path(str(path)).expanduser()}")


def _expect_on_disk(command: str, settings: Any, place: str = "", part: str = "") -> None:
    """Refuse an address in object storage where only a disk will do; it would be taken for the name of a folder."""
    if not isinstance(settings, Mapping):
        leaf = place.rpartition(".")[2]
        may = leaf in _MAY_BE_ELSEWHERE or (leaf == "path" and part in _PATHS_ELSEWHERE)
        may = may or (command, place) == ("migrate", "out")
        if _STORAGE.match(str(settings)) and not may:
            raise ConfigError(
                redacted(f"{place}={settings}: expected a path on a disk; in object storage may lie {_THERE}")
            )
        return
    part = str(settings.get(TARGET) or "")
    for name, value in settings.items():
        _expect_on_disk(command, value, f"{place}.{name}".lstrip("."), part)


def _expect_a_use(command: str, config: DictConfig) -> None:
    """Refuse a price that nothing is reckoned with: calls of the teacher alone are priced, and not by every command."""
    priced = command == "choose" or config.get("learning_curve", False) is not False
    for side in SIDES:
        price = (config.get(side) or {}).get(PRICE)
        if price is None or not is_given(f"{side}.{PRICE}"):
            continue
        if side == "student":
            by = "" if priced else " by train and choose"
            instead = f"those of the teacher are{by}: teacher.{PRICE}={price}"
            raise ConfigError(f"{side}.{PRICE}={price}: calls of the student are not priced; {instead}")
        if not priced:
            where = " without learning_curve=true" if "learning_curve" in config else ""
            raise ConfigError(f"{side}.{PRICE}={price}: {command} names no price{where}; leave it out")


def _own(command: str, config: DictConfig) -> Iterator[tuple[str, Any]]:
    """The command's own settings that are given, interpolations resolved."""
    for name in own_settings(command):
        if not OmegaConf.is_missing(config, name):
            value = config.get(name)
            yield name, OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _part_of(default: Any) -> str | None:
    """The group whose choice a setting takes over by default; `None` for any other setting.

    >>> _part_of("${oc.select:index}")
    'index'
    """
    found = _CHOSEN.fullmatch(default) if isinstance(default, str) else None
    return found[1] if found and found[1] in MOUNTED else None


def _is_part(value: Any) -> bool:
    """Whether it is a part itself, or another interpolation."""
    return TARGET in value if isinstance(value, Mapping) else isinstance(value, str) and "${" in value


def _check_kinds(group: str, place: str, settings: Any) -> None:
    """Refuse what is of another kind than in the YAML of ours that it comes from."""
    choice = choice_of(group, settings)
    ours = yaml_of(group, choice) if choice is not None else {}
    for name, value in settings.items():
        default = ours.get(name)
        if (part := _part_of(default)) is not None and value not in (None, default) and not _is_part(value):
            write = f"{part}={value}" if isinstance(value, str) else f"{part}=… and {part}.SETTING=…"
            raise ConfigError(f"{place}.{name}={value}: the {part} is chosen beside it; write {write}")
        if isinstance(value, Mapping | list) or value is None or "${" in str(value):
            continue  # what is filled in later is looked at where it is used
        if isinstance(default, bool) and not isinstance(value, bool):
            raise ConfigError(f"{place}.{name}={value}: expected true or false")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(default, int | float) and not isinstance(default, bool) and not is_number:
            raise ConfigError(f"{place}.{name}={value}: expected a number")
