"""Which device trains, in which precision, and why."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from alignkit.errors import ConfigError


@dataclass(frozen=True)
class Device:
    """What was taken.

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
        """The first device of the kind."""
        return torch.device(self.accelerator)


def choose_device(name: str, precision: str = "auto") -> Device:
    """Resolve `auto|cpu|cuda` and `auto|bf16|…` on this machine.

    Args:
        name: `auto` takes CUDA where it is present.
        precision: `auto` is bfloat16 on a GPU that has it, else float32; `bf16` is bfloat16 wherever the chip
            multiplies it natively, else float32; anything else goes to Lightning as it is.

    Raises:
        ConfigError: for `cuda` without CUDA, or an unknown name.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"device={name}: expected auto, cpu or cuda")
    present = torch.cuda.is_available()
    if name == "cuda" and not present:
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch sees no NVIDIA GPU"
        raise ConfigError(f"device=cuda: {why}; install a CUDA build of torch or take device=auto")
    accelerator = "cuda" if present and name != "cpu" else "cpu"
    native = _has_bfloat16(accelerator)
    if precision == "auto":
        precision = "bf16-mixed" if native and accelerator == "cuda" else "32-true"
    elif precision == "bf16":
        precision = "bf16-mixed" if native else "32-true"
    chip = torch.cuda.get_device_name() if accelerator == "cuda" else f"CPU with {torch.get_num_threads()} thread(s)"
    asked = "no CUDA here" if name == "auto" and not present else f"device={name}"
    return Device(accelerator, precision, f"{chip}, {precision} ({asked})")


def _has_bfloat16(accelerator: str) -> bool:
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
