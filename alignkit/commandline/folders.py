"""The run folder that Hydra makes before anything is computed; it is removed again if nothing was written to it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig

from alignkit.errors import ConfigError
from alignkit.files import why_no_name

# Hydra calls this before it makes the folder
CALLBACK = "+hydra.callbacks.alignkit._target_=alignkit.commandline.folders.RunFolders"
# the longest path in a run folder that a run cannot do without
_LONGEST_NAME = os.path.join("baselines", "ridge", "01234567.part", "head.safetensors")
_LONG_PATH = 240


class RunFolders:
    """Remembers which folders were not there before a run."""

    made: ClassVar[list[Path]] = []

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Before the folder of one run is made."""
        self._watch(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Before the folder of a sweep is made."""
        self._watch(config.hydra.sweep.dir)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on_"):  # Hydra's other events
            return lambda **_: None
        raise AttributeError(name)

    def _watch(self, folder: str) -> None:
        path = Path(str(folder)).absolute()
        while not os.path.lexists(path) and path != path.parent:
            self.made.append(path)
            path = path.parent

    @classmethod
    def job_started(cls, folder: Path) -> None:
        """The folder of one job of a sweep is there; it was made if the sweep's own was."""
        if any(above in cls.made for above in folder.parents):
            cls.made.insert(0, folder)

    @classmethod
    def drop_empty(cls) -> None:
        """Remove the new folders that are still empty."""
        made, cls.made = cls.made, []
        for path in made:
            with contextlib.suppress(OSError, ValueError):  # it holds something, or was never made
                path.rmdir()


def check_room(folder: Path) -> None:
    """Find out whether files can be written to a run folder, long names too.

    Raises:
        ConfigError: if not; before anything was computed.
    """
    if (error := why_no_name(folder, len(_LONGEST_NAME))) is not None:
        raise ConfigError(unusable(folder, error))


def unusable(folder: Path | str, error: OSError | ValueError) -> str:
    """One line on a run folder that nothing can be written to."""
    length = len(os.path.abspath(folder)) + 1 + len(_LONGEST_NAME)
    long = f"; the longest path in it has {length} characters" if length > _LONG_PATH else ""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{folder}: files cannot be written to this run folder ({reason}{long}); choose another with hydra.run.dir="
