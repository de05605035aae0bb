"""LoRA: a transformer's matrices stay as they are, and training adds a product of two narrow ones to each.

Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from alignkit.errors import ConfigError
from alignkit.extras import needing


def add_low_rank(model: Any, layers: Iterable[nn.Module], rank: int) -> None:
    """Freeze a transformer, and put a trainable product of rank `rank` beside every matrix of some of its layers.

    Its vectors stay as they are: one of the two factors starts at zero, the other one is the same in every process.

    Raises:
        ConfigError: if the layers have no matrix of a known kind.
        MissingExtraError: without peft.
    """
    check_peft()
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    inside = {id(one) for layer in layers for one in layer.modules() if isinstance(one, nn.Linear | Conv1D)}
    names = [name for name, one in model.named_modules() if id(one) in inside]
    if not names:
        raise ConfigError(f"lora={rank}: the layers have no matrix of a kind that peft knows; take lora=null")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # twice the rank: products of any rank then suit the same learning rate
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names), model)


def merge_low_rank(model: Any) -> None:
    """Add the products to the matrices, and leave nothing else of them in the transformer."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, BaseTunerLayer):
            layer.merge()
            model.set_submodule(name, layer.get_base_layer())
    del model.peft_config


def check_peft() -> None:
    """Refuse early.

    Raises:
        MissingExtraError: without peft.
    """
    with needing("lora", "peft"):
        import peft  # noqa: F401
