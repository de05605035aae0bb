"""The folder of a run: what may go in, in which order, and what says that it is finished."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alignkit.errors import ArtifactError, ConfigError
from alignkit.files import refused, write_whole
from alignkit.head_files import bundle_at, find_head
from alignkit.hub.hub_address import is_hub_address
from alignkit.pasting import command_line

CONFIG, METRICS, BASELINES = "config.yaml", "metrics.json", "baselines"


def claim_run_folder(folder: Path, config_yaml: str, command: str = "train") -> None:
    """Make the folder and write its config; only the main process calls this, once the input has been checked.

    Args:
        folder: of the run.
        config_yaml: its settings.
        command: that goes on with an unfinished run, for messages.

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
        again = command_line(command, [f"resume={folder}"])
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


def newest_run(folders: Sequence[str | Path] = ("outputs/train", "outputs/distill")) -> Path:
    """The run that finished last, sweeps included.

    Raises:
        ArtifactError: if there is none.
    """
    finished = [
        path for folder in folders for depth in ("*", "*/*") for path in Path(folder).glob(f"{depth}/{METRICS}")
    ]
    runs = [path.parent for path in finished if (path.parent / "head" / "head.json").is_file()]
    if not runs:
        places = " and ".join(map(str, folders))
        raise ArtifactError(f"{places}: no finished run there; train one with python -m alignkit.train, or give head=")
    return max(runs, key=lambda run: (run / METRICS).stat().st_mtime_ns)


def asked_head(head: str | None) -> Path:
    """The head that is asked for, a run folder or an address: the one given, else that of the run that finished last.

    Raises:
        ArtifactError: if none is given, and no run is finished.
    """
    return newest_run() if head is None else Path(head).expanduser()


def expect_head(head: str | Path) -> None:
    """Refuse a head that is not there, before anything is loaded; one on the Hub is looked for by who loads it.

    Raises:
        ArtifactError: if it is not.
    """
    if not is_hub_address(head) and bundle_at(head) is None:
        find_head(head)


def run_of(head: str | Path) -> Path | None:
    """The run folder that a head lies in, `None` for a bare head and for a bundle.

    Raises:
        ArtifactError: if there is no head.
    """
    if bundle_at(head) is not None:
        return None
    run = find_head(head).parent
    return run if (run / BASELINES).is_dir() else None
