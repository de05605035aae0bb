"""Tensors of safetensors files as float32 arrays, without torch; bfloat16 too, which NumPy does not have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from alignkit.errors import DataError
from alignkit.extras import needing
from alignkit.servers.untrusted_words import one_line

_BFLOAT16 = "BF16"


def tensor_names(path: Path) -> list[str]:
    """The names of a file's tensors.

    Raises:
        DataError: if it is no readable safetensors file.
    """
    return sorted(_header(path))


def tensor(path: Path, name: str) -> np.ndarray:
    """A tensor as float32.

    Raises:
        DataError: if the file is damaged, or has no such tensor.
    """
    header = _header(path)
    if name not in header:
        raise DataError(f"{path}: no tensor '{name}'; it holds {', '.join(sorted(header)[:5]) or 'none'}")
    if header[name].get("dtype") != _BFLOAT16:
        return _numpy_tensor(path, name)
    start, end = header[name]["data_offsets"]
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        file.seek(8 + length + start)
        halves = np.frombuffer(file.read(end - start), dtype="<u2")
    # a bfloat16 is the upper half of a float32
    return (halves.astype(np.uint32) << 16).view(np.float32).reshape(header[name]["shape"])


def _numpy_tensor(path: Path, name: str) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return np.asarray(file.get_tensor(name), dtype=np.float32)


def _header(path: Path) -> dict[str, dict]:
    """What the file says of its tensors, once safetensors itself has found it sound."""
    with needing("local"):
        from safetensors import SafetensorError, safe_open
    try:
        with safe_open(path, framework="numpy"):  # checks the offsets against the file's length
            pass
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (SafetensorError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({one_line(error, 80)}); copy it again") from None
    return {name: about for name, about in header.items() if name != "__metadata__"}
