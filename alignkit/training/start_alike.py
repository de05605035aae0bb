"""Several processes start from one and the same head: the first one's."""

from __future__ import annotations

import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from alignkit.heads.base import Head


class StartAlike(Callback):
    """Hands the first process's head to the others as soon as they have met.

    The first alone solves the closed form. Were each to solve it, rounding on another chip could choose another λ, or
    another rank and with it other shapes; and what is validated before training would be several heads.
    """

    def __init__(self) -> None:
        self._done = False

    @torch.no_grad()
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Before the module goes to its device and is wrapped."""
        if self._done or trainer.world_size == 1:
            return
        self._done = True
        head: Head = pl_module.head  # type: ignore[assignment]
        arguments = trainer.strategy.broadcast(head.arguments())
        if head.arguments() != arguments:  # a rank that only the first has settled
            trainable = {name for name, parameter in head.named_parameters() if parameter.requires_grad}
            head = type(head)(**arguments)
            for name, parameter in head.named_parameters():
                parameter.requires_grad_(name in trainable)
            pl_module.head = head
        for tensor in head.state_dict().values():
            shared = tensor.to(trainer.strategy.root_device).contiguous()
            dist.broadcast(shared, src=0)
            tensor.copy_(shared)
