"""The folder of a run: what may go in, in which order, and what says that it is finished."""

from __future__ import annotations

from pathlib import Path

from alignkit.errors import ConfigError
from alignkit.files import refused, write_whole
from alignkit.pasting import command_line

CONFIG, METRICS = "config.yaml", "metrics.json"


def claim_run_folder(folder: Path, config_yaml: str) -> None:
    """Make the folder and write its config; only the main process calls this, once the input has been checked.

    Raises:
        ConfigError: if the folder holds a run already, finished or not.
        AlignkitError: if it cannot be written.
    """
    if (folder / METRICS).exists():
        raise ConfigError(f"{folder} holds a finished run; choose another folder with hydra.run.dir=")
    config = folder / CONFIG
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # of two runs that start in one second only one can make it
        config.touch(exist_ok=False)
    except OSError as error:
        if not config.exists():
            raise refused(folder, error) from None
        again = command_line("train", [f"resume={folder}"])
        raise ConfigError(f"{folder} holds an unfinished run; choose another folder, or go on with: {again}") from None
    write_whole(config, config_yaml)


def check_resumable(folder: Path) -> None:
    """Whether the folder holds a run that can go on.

    Raises:
        ConfigError: if it does not.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"resume={folder}: no {CONFIG} there; expected the folder of an interrupted run")
    if (folder / METRICS).exists():
        raise ConfigError(f"resume={folder}: that run is finished; its head is in {folder / 'head'}")
