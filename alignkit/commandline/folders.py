"""The folder that Hydra makes for a run: made before anything is computed, and gone where nothing was written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any, ClassVar

from omegaconf import DictConfig

from alignkit.errors import ConfigError

# Hydra calls this before it makes the folder
CALLBACK = "+hydra.callbacks.alignkit._target_=alignkit.commandline.folders.RunFolders"
# the longest name in a run folder is that of TensorBoard's events: time, host, process
_LONGEST_NAME = "events.out.tfevents.1700000000.DESKTOP-ABCDEFG.12345.0.part"


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
        while not path.exists() and path != path.parent:
            self.made.append(path)
            path = path.parent

    @classmethod
    def drop_empty(cls) -> None:
        """Remove those of them that hold nothing; what was there before stays."""
        for path in cls.made:
            with contextlib.suppress(OSError):  # it holds something, or was never made
                path.rmdir()
        cls.made.clear()


def check_room(folder: Path) -> None:
    """Find out whether files can be written to a run folder, long names too.

    Raises:
        ConfigError: if not; before anything was computed.
    """
    probe = folder / _LONGEST_NAME
    try:
        with probe.open("xb"):
            pass
        probe.unlink()
    except FileExistsError:  # another process of this run is looking too
        return
    except OSError as error:
        raise ConfigError(unusable(folder, error)) from None


def unusable(folder: Path | str, error: OSError) -> str:
    """One line on a run folder that nothing can be written to."""
    length = len(os.path.abspath(folder)) + 1 + len(_LONGEST_NAME)
    long = f"; the longest path in it has {length} characters" if length > 240 else ""
    reason = error.strerror or type(error).__name__
    return f"{folder}: files cannot be written to this run folder ({reason}{long}); choose another with hydra.run.dir="
