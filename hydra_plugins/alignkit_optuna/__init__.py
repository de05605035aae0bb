"""`hydra/sweeper=alignkit_optuna`, where Hydra looks for plugins; what it does is in `alignkit.commandline.sweeps`.

Hydra imports this file whenever it starts, so that it must stay light.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class AlignkitOptuna(Sweeper):
    """Searches settings with Optuna, and ends with a leaderboard.

    Args:
        **settings: of `conf/hydra/sweeper/alignkit_optuna.yaml`.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in settings.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's call before `sweep`."""
        self.begun = config, hydra_context, task_function

    def sweep(self, arguments: list[str]) -> None:
        """Run the trials.

        Args:
            arguments: overrides, those that are to be searched among them.
        """
        from alignkit.commandline.sweeps.sweep import Sweep

        Sweep(self.settings, *self.begun, arguments).run()
