"""Python, torch, the GPU and the disk."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from alignkit.checking.findings import Finding, failure, ok, warning

NVIDIA_SMI_TIMEOUT_S = 20
GB = 1e9
LOW_DISK_GB = 10
NO_DISK_GB = 1
# PyPI's torch for Windows has no GPU support; torch's own index has builds that do
CUDA_TORCH = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130"
CUDA_TORCH_DRIVER = 580
OTHER_CUDA = "https://pytorch.org/get-started/locally names the build for other drivers"


def check_machine(folder: Path) -> Iterator[Finding]:
    """Check the interpreter, torch with its GPU, and the disk under `folder`."""
    yield ok("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _check_torch()
    yield check_disk(folder)


def _check_torch() -> Iterator[Finding]:
    import torch

    yield ok("torch", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            name = torch.cuda.get_device_name(number)
            yield ok("gpu", f"{name}, CUDA {torch.version.cuda}, {free / GB:.1f} of {total / GB:.1f} GB free")
    elif torch.backends.mps.is_available():
        yield ok("gpu", "Apple GPU, through Metal")
    else:
        yield gpu_finding(nvidia_gpus(), torch.__version__, torch.version.cuda)


def nvidia_gpus() -> list[tuple[str, str]]:
    """Name and driver version of each NVIDIA GPU, as the driver reports them; empty without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    query = [program, "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.rpartition(",") for line in answer.stdout.splitlines() if "," in line]
    return [(name.strip(), driver.strip()) for name, _, driver in rows]


def gpu_finding(gpus: list[tuple[str, str]], torch_version: str, torch_cuda: str | None) -> Finding:
    """What to say when torch sees no GPU.

    Args:
        gpus: what the driver sees, from `nvidia_gpus`.
        torch_version: with its local part, such as `2.13.0+cpu`.
        torch_cuda: CUDA version that torch was built with, if any.

    >>> gpu_finding([], "2.13.0+cpu", None).status
    'ok'
    >>> gpu_finding([("RTX 3060", "581.1")], "2.13.0+cpu", None).message
    'RTX 3060 is there, but torch 2.13.0+cpu is built without CUDA and cannot use it'
    """
    if not gpus:
        return ok("gpu", "none that torch can use; heads train well on the CPU")
    name, driver = gpus[0]
    old_driver = not driver.partition(".")[0].isdecimal() or int(driver.partition(".")[0]) < CUDA_TORCH_DRIVER
    if torch_cuda is None:
        fix = f"{CUDA_TORCH} (for drivers from {CUDA_TORCH_DRIVER} on; yours is {driver}; {OTHER_CUDA})"
        return warning(
            "gpu", f"{name} is there, but torch {torch_version} is built without CUDA and cannot use it", fix
        )
    reason = f"{name} is there and torch {torch_version} is built for CUDA {torch_cuda}, but finds no GPU"
    if old_driver:
        return warning("gpu", reason, f"update the NVIDIA driver (it is {driver}), or see: {OTHER_CUDA}")
    return warning(
        "gpu", reason, "is the GPU hidden by CUDA_VISIBLE_DEVICES, or in use exclusively by another process?"
    )


def check_disk(folder: Path) -> Finding:
    """Free disk space where the cache is or will be."""
    place = folder.expanduser().absolute()
    # os.path.exists: it returns False for a folder that this user may not read, and does not raise
    there = next((parent for parent in (place, *place.parents) if os.path.exists(parent)), place)
    try:
        free_gb = shutil.disk_usage(there).free / GB
    except OSError as error:
        return failure("disk", f"{there}: {error.strerror or error}", "set cache_dir to a disk that is there")
    message = f"{free_gb:.1f} GB free at {there}"
    if free_gb < NO_DISK_GB:
        return failure("disk", message, "free some space, or set cache_dir to another disk")
    if free_gb < LOW_DISK_GB:
        need = "a million 3584-d vectors take 7.2 GB"
        return warning("disk", message, f"{need}; set cache_dir to another disk if you plan for so many")
    return ok("disk", message)
