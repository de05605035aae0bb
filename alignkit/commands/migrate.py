"""The command `migrate`: what is done once its words have been read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig

from alignkit.commandline import plain
from alignkit.commandline.workers_asked import workers_of
from alignkit.commands.rules.migrate import NEED_HEAD, STEPS
from alignkit.errors import ConfigError

OF_FILES = ("vectors", "out", "key", "dtype", "codes")


def main(config: DictConfig) -> None:
    """Move a file, or do one step inside an engine."""
    settings = plain(config, without=("student", "teacher"))
    if settings.get("source") is None:
        if settings.get("target") is not None:
            raise ConfigError("target= needs the index that is moved: source=pgvector …")
        if settings["step"] is not None:
            raise ConfigError(f"step={settings['step']}: name the engine that holds the index: source=pgvector …")
        _expect(settings, ("vectors", "head", "out"))
        from alignkit.commands.migrate_actions.file_move import move_file

        move_file(settings, workers_of(settings["engine"]))
        return
    if given := [name for name in OF_FILES if settings[name] is not None]:
        raise ConfigError(f"{given[0]}={settings[given[0]]}: is for files, and does not go with source=")
    if settings["step"] is None:
        raise ConfigError(f"step is not set; give it as step=plan, or another of {', '.join(STEPS)}")
    if settings["queries"] is not None and settings["step"] != "compare":
        raise ConfigError(f"queries={settings['queries']}: is for step=compare")
    if settings["qrels"] is not None and settings["queries"] is None:
        raise ConfigError("qrels= judges queries, and none are given; name their file: queries=FILE")
    if config.get("teacher") is not None and (settings["step"] != "compare" or settings["queries"] is None):
        raise ConfigError("teacher= embeds the queries of step=compare; name their file: queries=FILE")
    if settings["step"] in NEED_HEAD or settings["queries"] is not None:
        _expect(settings, ("head",))
    from alignkit.commands.migrate_actions.engine_steps import Steps  # with torch: what is wrong has been said

    Steps(config, settings, workers_of(settings["engine"])).run()


def _expect(settings: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if settings[name] is None:
            raise ConfigError(f"{name} is not set; give it as {name}=...")
