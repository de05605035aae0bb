"""Student and teacher of a command that has a head: by default, those that the head was trained with.

Only the config decides, so a setting means the same on the command line, in a user's YAML and in a sweep. A side that
names no embedder (`student: null`, or settings without a `_target_`) is the head's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from alignkit.aligned import student_beside
from alignkit.artifact import Artifact
from alignkit.commandline.conf import choice_of, group_choices, yaml_of
from alignkit.commandline.texts import escaped
from alignkit.credentials import STARS, redacted
from alignkit.embedders.by_name import choice_of_identity, told_settings
from alignkit.embedders.distilled import BACKEND, is_distilled
from alignkit.errors import ConfigError
from alignkit.parts import PRICE, TARGET
from alignkit.resources.demo_pack import TABLE, is_packed_table

# the packaged models, as in the demo pack
PACKAGED_SIDES = {"student": "two_layer", "teacher": "minilm"}
_MISSING = "???"


def complete_sides(
    config: DictConfig,
    artifact: Artifact | None,
    head: str | Path | None = None,
    otherwise: Mapping[str, str] = PACKAGED_SIDES,
) -> None:
    """Put the head's own models where the config names none.

    Args:
        config: of the command; its `student` and `teacher` are changed.
        artifact: the head; `None` where the command is about none.
        head: where it was read from: a student that was trained with it lies beside it.
        otherwise: side → the embedder where the head does not tell.

    Raises:
        ConfigError: for a setting that the embedder does not have.
        ArtifactError: if the student that was trained with the head is not there, or not as it was.
    """
    for side, default in otherwise.items():
        identity = getattr(artifact, f"{side}_identity", None)
        node = config.get(side)
        given = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else node or {}
        if not isinstance(given, dict):
            raise ConfigError(f"{side}={given}: expected an embedder by name: {', '.join(group_choices('embedder'))}")
        told = dict(told_settings(identity or {}))
        if side == "student" and artifact and head and is_distilled(identity) and _names_no_other(given):
            told["path"] = str(student_beside(artifact, head, config.get("allow_student_mismatch") is True))
        elif side == "student" and is_packed_table(identity):
            told["path"] = str(TABLE)
        with open_dict(config):  # without a choice Hydra has no place for one
            config[side] = escaped(_completed(side, given, identity, told, default))


def runs_here(identity: Mapping[str, Any] | None) -> bool:
    """Whether an identity names a model that runs in this process and asks no server."""
    choice = None if identity is None else choice_of_identity(identity)
    return choice is not None and "base_url" not in yaml_of("embedder", choice)


def words_of_side(side: str, settings: Mapping[str, Any]) -> list[str]:
    """The words of a command line that choose this embedder: `teacher=ollama teacher.model=bge-m3`.

    Args:
        side: `student` or `teacher`.
        settings: of the embedder, as its YAML names them.
    """
    choice = choice_of("embedder", settings)
    if choice is None:
        return []
    ours = yaml_of("embedder", choice) | _default_model(side, choice)
    own = {name: value for name, value in settings.items() if name in ours and name != PRICE and value != ours[name]}
    return [f"{side}={choice}", *(f"{side}.{name}={_word(value)}" for name, value in own.items())]


def _completed(
    side: str, given: Mapping[Any, Any], identity: Mapping[str, Any] | None, told: Mapping[str, Any], default: str
) -> dict[str, Any]:
    own = None if identity is None else choice_of_identity(identity)
    choice = choice_of("embedder", given) if TARGET in given else own or default
    if choice is None:  # an embedder of the user's own
        return dict(given)
    ours = yaml_of("embedder", choice)
    if unknown := [name for name in given if name not in ours]:
        known = ", ".join(name for name in ours if name != TARGET)
        raise ConfigError(f"{side}.{unknown[0]}: {choice} has no such setting; it has {known}")
    settings = {**ours, **given}
    if choice == own:
        unsaid = [name for name in ours if name not in given or _is_open(name, settings[name])]
        settings |= {name: value for name, value in told.items() if name in unsaid}
    return settings | {
        name: value for name, value in _default_model(side, choice).items() if settings[name] == _MISSING
    }


def _default_model(side: str, choice: str) -> dict[str, Any]:
    """What a choice means for one side alone."""
    name = f"{side}_{choice}"
    return yaml_of("embedder_model", name) if name in group_choices("embedder_model") else {}


def _is_open(name: str, value: Any) -> bool:
    """Whether a setting that has its place is still to be told."""
    return value == _MISSING or (name == "path" and value is None)


def _names_no_other(given: Mapping[Any, Any]) -> bool:
    """Whether a side leaves it open which student it means, and where that is."""
    is_open = TARGET not in given or choice_of("embedder", given) == BACKEND
    return is_open and given.get("path", _MISSING) == _MISSING


def _word(value: Any) -> Any:
    """The value as it is typed (`true`, `null`); a password is left out."""
    if STARS in redacted(str(value)):
        return "…"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else value
