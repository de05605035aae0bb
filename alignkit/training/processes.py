"""Several processes that train together: which one this is, before they have met, and what the first hands the others.

Lightning starts the others from within the first, with its command line and environment, when the fit begins; under
torchrun or Slurm all start at once.
"""

from __future__ import annotations

import os

import torch

from alignkit.errors import ConfigError

CHOSEN_HEAD = "ALIGNKIT_CHOSEN_HEAD"


def is_main_process() -> bool:
    """Whether this is the first of the processes that train together, before they have met."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name) or 0) == 0 for name in names)


def local_device(accelerator: str) -> torch.device:
    """This process's own device: of several on one machine each has a GPU of its own."""
    if accelerator != "cuda":
        return torch.device(accelerator)
    rank = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    return torch.device(accelerator, rank % max(1, torch.cuda.device_count()))


def head_of_first_process() -> str | None:
    """What `model=auto` chose in the process that started this one; `None` in the first, which chooses.

    Each process would measure its own clock, and could choose another head.

    Raises:
        ConfigError: where the processes were not started by the first, so that it cannot tell them.
    """
    if not is_main_process() and CHOSEN_HEAD in os.environ:
        return os.environ[CHOSEN_HEAD]
    started_outside = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    several = any(int(os.environ.get(name) or 1) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))
    if not is_main_process() or (started_outside and several):
        raise ConfigError(
            "model=auto cannot choose in several processes at once; run it in one process, then give these the head it "
            "chose, as model=NAME"
        )
    return None


def hand_down(head: str) -> None:
    """Tell the processes that this one will start which head was chosen."""
    os.environ[CHOSEN_HEAD] = head
