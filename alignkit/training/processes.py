"""Several processes that train together: what each knows of them before they meet (see `training.team`).

Lightning starts those of one machine from the first, with its command line and environment, when a fit begins. Under
torchrun or Slurm, and on several machines, all start at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch

from alignkit.errors import ConfigError


def is_main_process() -> bool:
    """Whether this is the first of the processes that train together; works before they meet."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name) or 0) == 0 for name in names)


def start_at_once(trainer_settings: Mapping[str, Any]) -> bool:
    """Whether there are several, none of which was started by the first one when it was ready.

    Args:
        trainer_settings: arguments of Lightning's `Trainer`.
    """
    launched = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    several = any(int(os.environ.get(name) or 1) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    return (launched and several) or (trainer_settings.get("num_nodes") or 1) > 1


def as_launched(trainer_settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings with the number of processes that torchrun started, where they name none.

    Raises:
        ConfigError: if they name another number.
    """
    settings = dict(trainer_settings)
    if "TORCHELASTIC_RUN_ID" not in os.environ or (size := int(os.environ.get("WORLD_SIZE") or 1)) == 1:
        return settings
    devices = int(os.environ.get("LOCAL_WORLD_SIZE") or size)
    launched = {"devices": devices, "num_nodes": size // devices}
    for name, number in launched.items():
        if isinstance(settings.get(name), int) and settings[name] not in (-1, number):
            raise ConfigError(f"trainer.{name}={settings[name]}: torchrun started {number}; leave trainer.{name} out")
    return {**settings, **launched}


def local_device(accelerator: str) -> torch.device:
    """This process's device: each process on a machine has its own GPU."""
    if accelerator != "cuda":
        return torch.device(accelerator)
    rank = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    return torch.device(accelerator, rank % max(1, torch.cuda.device_count()))
