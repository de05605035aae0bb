"""Several processes that train together: which one this is before they connect, and what the first tells the others.

When the fit begins, Lightning starts the others from the first, with its command line and environment. Under torchrun
or Slurm all start at once.
"""

from __future__ import annotations

import os

import torch

from alignkit.errors import ConfigError

CHOSEN_HEAD = "ALIGNKIT_CHOSEN_HEAD"


def is_main_process() -> bool:
    """Whether this is the first of the processes that train together; works before they connect."""
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID")
    return all(int(os.environ.get(name) or 0) == 0 for name in names)


def are_several() -> bool:
    """Whether whoever started this process started others beside it."""
    return any(int(os.environ.get(name) or 1) > 1 for name in ("WORLD_SIZE", "SLURM_NTASKS"))


def local_device(accelerator: str) -> torch.device:
    """This process's device: each process on a machine has its own GPU."""
    if accelerator != "cuda":
        return torch.device(accelerator)
    rank = int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)
    return torch.device(accelerator, rank % max(1, torch.cuda.device_count()))


def head_of_first_process() -> str | None:
    """What `model=auto` chose in the process that started this one; `None` in the first, which chooses.

    If each process chose by its own clock, they could choose different heads.

    Raises:
        ConfigError: if the first process did not start the others, so it cannot tell them.
    """
    if not is_main_process() and CHOSEN_HEAD in os.environ:
        return os.environ[CHOSEN_HEAD]
    started_outside = "TORCHELASTIC_RUN_ID" in os.environ or "SLURM_PROCID" in os.environ
    if not is_main_process() or (started_outside and are_several()):
        raise ConfigError(
            "model=auto cannot choose in several processes at once; run it in one process, then give these the head it "
            "chose, as model=NAME"
        )
    return None


def hand_down(head: str) -> None:
    """Record the chosen head for the processes that this one will start."""
    os.environ[CHOSEN_HEAD] = head
