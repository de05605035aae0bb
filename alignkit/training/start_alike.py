"""Makes several processes start from the same head, the first one's."""

from __future__ import annotations

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from alignkit.heads.base import Head


class StartAlike(Callback):
    """Sends the first process's head to the others as soon as they are connected.

    Only the first solves the closed form. If each solved it, rounding on another chip could lead to another λ, or to
    another rank and so to other shapes, and the validation before training would see different heads.
    """

    def __init__(self) -> None:
        self._done = False

    @torch.no_grad()
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Copy the head before the module is moved to its device and wrapped."""
        if self._done or trainer.world_size == 1:
            return
        self._done = True
        head: Head = pl_module.head  # type: ignore[assignment]
        arguments = trainer.strategy.broadcast(head.arguments())
        if head.arguments() != arguments:  # a rank that only the first process has determined
            trainable = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
            head = type(head)(**arguments)
            for name, parameter in head.named_parameters():
                parameter.requires_grad_(name in trainable)
            pl_module.head = head
        for tensor in head.state_dict().values():
            shared = tensor.to(trainer.strategy.root_device).contiguous()
            dist.broadcast(shared, src=0)
            tensor.copy_(shared)
