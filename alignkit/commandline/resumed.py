"""The settings of a run that is resumed, read from its folder, which may come from somebody else.

Only plain values are read from `config.yaml`: nothing is interpolated, and nothing is built before it has been checked
against our own YAMLs. A file does not decide which server to talk to, or whose code to run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from alignkit.commandline.composed import plain
from alignkit.commandline.conf import choice_of, group_choices, yaml_of
from alignkit.commandline.described import check_part, check_values
from alignkit.commandline.words import as_given
from alignkit.credentials import STARS, redacted, without_secrets
from alignkit.errors import ConfigError
from alignkit.parts import TARGET
from alignkit.pasting import command_line
from alignkit.runs.folder import CONFIG, check_resumable
from alignkit.runs.run_config import read_run_config
from alignkit.setting_names import SIDES
from alignkit.training.processes import is_main_process

# place → the group whose YAMLs say what may stand there
PARTS = {"data": "data", "model": "model", "loss": "loss", **dict.fromkeys(SIDES, "embedder")}
# what a file may not decide about a model: whom its texts and keys go to, and whether code that lies with it is run
REACHING = ("base_url", "api_key_env", "trust_remote_code", "model")
# who does parts of the work: whoever gives the command says so, and no run keeps it
ENGINE = "engine"
# beside them, these are all that a resumed run takes
_ALONGSIDE = ("resume", "threads", *SIDES)
# of the data, what a run of 0.1 and before kept of its command line
_OLDER = ("chosen", "overrides")
_NEEDED = {"data", "model", "loss", "trainer", "device", "seed", "refit", "html", "objective", "select_by"}
_NEEDED_BY = {"distill": {"student", "teacher", "cache_dir", "budget", "tables", "train_layers", "lora", "check_on"}}


class Begun(NamedTuple):
    """A run that begins, or goes on.

    Attributes:
        folder: of the run.
        settings: plain values.
        resume: whether it goes on.
    """

    folder: Path
    settings: dict[str, Any]
    resume: bool


def begin_run(config: DictConfig, command: str = "train") -> Begun:
    """Where a run lies and its settings: those of the command line, or of the run that `resume=` names.

    Of several processes that train together only the first one logs; the others would repeat it.

    Raises:
        ConfigError: if that run cannot go on.
    """
    if not is_main_process():
        logging.getLogger("alignkit").setLevel(logging.ERROR)
    if config.resume is None:
        return Begun(Path(HydraConfig.get().runtime.output_dir), plain(config, without=(ENGINE,)), False)
    folder = Path(config.resume).expanduser()
    check_resumable(folder)
    return Begun(folder, settings_of_run(folder / CONFIG, config, command), True)


def settings_of_run(path: Path, config: DictConfig, command: str = "train") -> dict[str, Any]:
    """What an interrupted run was started with.

    Args:
        path: of its config.
        config: what the command line composes to.
        command: that made the run.

    Raises:
        ConfigError: if the file is not what `train` writes, or reaches further than the user said.
    """
    words = as_given(HydraConfig.get().overrides.task)
    given = {word.partition("=")[0] for word in words}
    allowed = {*_ALONGSIDE, *(f"{side}.{name}" for side in SIDES for name in REACHING)}
    allowed |= {name for name in given if name.partition(".")[0] == ENGINE}
    if unfit := [word for word in words if word.partition("=")[0] not in allowed]:
        raise ConfigError(f"resume takes every setting from {path}; leave out {unfit[0]}")
    settings = _read(path)
    for name, value in settings.items():
        if name in PARTS and not _is_left_open(PARTS[name], value):
            check_part(f"{path}: {name}", value, PARTS[name])
        else:
            check_values(f"{path}: {name}", value)
    if lacking := sorted((_NEEDED | _NEEDED_BY.get(command, set())) - settings.keys()):
        raise ConfigError(f"{path}: lacks {', '.join(lacking)}; expected what python -m alignkit.{command} writes")
    for name in ("trainer", "device"):
        if not isinstance(settings[name], dict):
            raise ConfigError(f"{path}: {name}: expected settings, got {redacted(str(settings[name]))}")
    for side in SIDES:
        if any(node != settings.get(side) for node in _nodes(settings, side)):
            raise ConfigError(f"{path}: data.{side} is not {side}, as train writes it; it is not run")
    _take_reaching(path, settings, config, given, command)
    return settings


def named_under(place: str) -> set[str]:
    """Which settings of a place the command line names: `model`, `model.features`."""
    names = {word.partition("=")[0] for word in as_given(HydraConfig.get().overrides.task)}
    return {name for name in names if name == place or name.startswith(f"{place}.")}


def config_yaml(settings: Mapping[str, Any]) -> str:
    """The settings of a run as it keeps them, secrets taken out, every value as it is."""
    return yaml.safe_dump(without_secrets(dict(settings)), sort_keys=False, allow_unicode=True, width=10_000)


def resume_command(folder: Path, settings: Mapping[str, Any], command: str = "train") -> str:
    """The command that resumes a run, with every setting that must not be taken from the run's own config."""
    return _command(str(folder), dict(_reaching(settings)), settings, command)


def _read(path: Path) -> dict[str, Any]:
    found = read_run_config(path)
    if isinstance(data := found.get("data"), dict):
        for name in _OLDER:
            data.pop(name, None)
    return found


def _nodes(settings: Mapping[str, Any], side: str) -> list[dict[str, Any]]:
    """The embedder settings of a side: those of the run and those inside `data`."""
    data = settings["data"]
    return [node for node in (settings.get(side), data.get(side)) if isinstance(node, dict)]


def _reaching(settings: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Settings that a file may not decide (addresses, keys, code), where they differ from our own YAML."""
    for side in SIDES:
        node = settings.get(side)
        if node is None or (choice := choice_of("embedder", node)) is None:  # none, or the user's own
            continue
        ours = yaml_of("embedder", choice)
        for name in REACHING:
            if name in node and node[name] != ours[name] and (name != "model" or _may_hold_code(node)):
                yield f"{side}.{name}", node[name]


def _is_left_open(group: str, value: Any) -> bool:
    """Whether a part is still to be chosen: what `auto.yaml` of its group holds, by which nothing is built."""
    ours = yaml_of(group, "auto") if "auto" in group_choices(group) else {}
    return isinstance(value, dict) and TARGET not in value and value.keys() == ours.keys() != set()


def _take_reaching(path: Path, settings: Mapping[str, Any], config: DictConfig, given: set[str], command: str) -> None:
    """Take from the command line what a file may not decide; ask for it where it was not given."""
    reaching = dict(_reaching(settings))
    if missing := [name for name in reaching if name not in given]:
        again = _command(config.resume, reaching, settings, command)
        raise ConfigError(
            f"{path} names {', '.join(missing)}; a run folder may be somebody else's, so whom to talk to and what to "
            f"run are not taken from it; if they are right, give them again: {again}"
        )
    for name in reaching:
        side, _, key = name.partition(".")
        for node in _nodes(settings, side):
            if node[TARGET] != config[side][TARGET]:
                choice = choice_of("embedder", node)
                raise ConfigError(f"{path}: the run's {side} is {choice}; give {side}={choice}")
            if key in node:
                node[key] = OmegaConf.select(config, name)


def _may_hold_code(node: Mapping[str, Any]) -> bool:
    """A folder of sentence-transformers: versions before 5.5 run code in it, whatever trust_remote_code says."""
    if "trust_remote_code" not in node:
        return False
    model = str(node["model"])
    return Path(model).expanduser().exists() or model.startswith((".", "/", "~")) or "\\" in model or ":/" in model


def _command(folder: str, reaching: Mapping[str, Any], settings: Mapping[str, Any], command: str) -> str:
    words = [f"resume={folder}"]
    for side in SIDES:
        own = {name: value for name, value in reaching.items() if name.startswith(f"{side}.")}
        if own:
            words.append(f"{side}={choice_of('embedder', settings[side])}")
        words += [f"{name}={'…' if STARS in redacted(str(value)) else value}" for name, value in own.items()]
    return command_line(command, words)
