"""Which device trains, in which precision, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from alignkit.errors import ConfigError
from alignkit.rounding import cpu_multiplies_bfloat16
from alignkit.setting_rules import check, one_of
from alignkit.training.processes import local_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """The chosen device.

    Attributes:
        accelerator: Lightning's name, `cpu` or `cuda`.
        precision: Lightning's name.
        reason: for the report, one line.
    """

    accelerator: str
    precision: str
    reason: str

    @property
    def torch_device(self) -> torch.device:
        """This process's device of this kind."""
        return local_device(self.accelerator)


def choose_device(name: str, precision: str = "auto") -> Device:
    """Resolve `auto|cpu|cuda` and `auto|bf16|…` on this machine.

    Args:
        name: `auto` takes CUDA where it is present.
        precision: `auto` is bfloat16 on a GPU that has it, else float32; `bf16` is bfloat16 wherever the chip
            multiplies it natively, else float32, with a warning; anything else is passed to Lightning. On a CPU
            with bfloat16 it saves a third of the training time of wide heads and none of narrow ones, and the closed
            form, which takes longer, stays float32: not worth the rounding.

    Raises:
        ConfigError: for `cuda` without CUDA, or an unknown name.
    """
    check({"device": name}, {"device": one_of(("auto", "cpu", "cuda"))})
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no NVIDIA GPU"
        raise ConfigError(f"device=cuda: {why}; install a CUDA build of torch or take device=auto")
    accelerator = "cuda" if present and name != "cpu" else "cpu"
    chip = torch.cuda.get_device_name() if accelerator == "cuda" else f"CPU with {torch.get_num_threads()} thread(s)"
    asked = "no CUDA here" if name == "auto" and not present else f"device={name}"
    precision, why = _resolve(precision, accelerator)
    return Device(accelerator, precision, f"{chip}, {precision} ({asked}{why and '; '}{why})")


def _resolve(precision: str, accelerator: str) -> tuple[str, str]:
    """Lightning's name, and a remark about bfloat16."""
    if precision not in ("auto", "bf16"):
        return precision, ""
    if not _has_bfloat16(accelerator):
        if precision == "bf16":
            logger.warning("precision=bf16: this chip does not multiply bfloat16; training in float32")
        return "32-true", "this chip does not multiply bfloat16"
    if precision == "auto" and accelerator == "cpu":
        return (
            "32-true",
            "this chip multiplies bfloat16, which auto takes on GPUs alone; precision=bf16 takes it here too",
        )
    return "bf16-mixed", "this chip multiplies bfloat16"


def _has_bfloat16(accelerator: str) -> bool:
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_multiplies_bfloat16()
