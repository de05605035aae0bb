"""Which weights are these? Digests of model files, computed once a process."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

# beside the weights, what decides how text becomes tokens and tokens become one vector
_CONFIGURATION = ("*.json", "*.txt", "*.model")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal; read again only when the file has changed."""
    status = path.stat()
    return _digest(str(path.resolve()), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _digest(path: str, size_bytes: int, modified_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over a model folder's weights, tokenizer and configuration; where the folder lies does not matter.

    Safetensors stand in for `.bin` files where both are there, as they do when the model is loaded.
    """
    weights = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("*.bin"))
    configuration = sorted(path for pattern in _CONFIGURATION for path in folder.rglob(pattern))
    lines = [
        f"{path.relative_to(folder).as_posix()} {file_digest(path)}"
        for path in [*weights, *configuration]
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()
