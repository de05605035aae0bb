"""Which device trains, in which precision, and why."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch

from alignkit.errors import ConfigError
from alignkit.rounding import cpu_rounds_products
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
        rough_products: training steps multiply float32 matrices in bfloat16; see `rounding.products_in_bfloat16`.
    """

    accelerator: str
    precision: str
    reason: str
    rough_products: bool = False

    @property
    def torch_device(self) -> torch.device:
        """This process's device of this kind."""
        return local_device(self.accelerator)


def choose_device(name: str, precision: str = "auto") -> Device:
    """Resolve `auto|cpu|cuda` and `auto|bf16|…` on this machine.

    Args:
        name: `auto` takes CUDA where it is present.
        precision: `auto` and `bf16` use bfloat16 where the chip multiplies it, else float32, with a warning for `bf16`;
            anything else is passed to Lightning. A GPU computes in it. A CPU trains in float32 and only multiplies
            matrices in it; closed forms and figures are float32 throughout.

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
    rough = precision in ("auto", "bf16") and _has_bfloat16(accelerator)
    why = ""
    if precision in ("auto", "bf16"):
        if precision == "bf16" and not rough:
            logger.warning("precision=bf16: this chip does not multiply float32 in bfloat16; training in float32")
        precision = "bf16-mixed" if rough and accelerator == "cuda" else "32-true"
        multiplies = "; this chip multiplies float32 in bfloat16, which training uses"
        why = multiplies if rough else "; this chip does not multiply float32 in bfloat16"
    return Device(accelerator, precision, f"{chip}, {precision} ({asked}{why})", rough and accelerator == "cpu")


def _has_bfloat16(accelerator: str) -> bool:
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return cpu_rounds_products()
