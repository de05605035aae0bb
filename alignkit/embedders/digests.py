"""Digests of model files, each computed once per process."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from alignkit.errors import EmbedderError

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
    lines = [f"{path.relative_to(folder).as_posix()} {file_digest(path)}" for path in _model_files(folder)]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


class LoadedFiles:
    """The files of a model that is in memory. Weights are mapped, so writing to the file changes the model.

    Args:
        folder: of the model, before it is loaded.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps = {path: _stamp(path) for path in _model_files(folder)}

    @functools.cached_property
    def digest(self) -> str:
        """Of the files as they were loaded.

        Raises:
            EmbedderError: if they have changed since.
        """
        digest = folder_digest(self._folder)
        self.require_unchanged()
        return digest

    def require_unchanged(self) -> None:
        """Refuse once a file was written to, replaced or removed.

        Raises:
            EmbedderError: which names it.
        """
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                raise EmbedderError(
                    f"{path} was changed while its model was in use, so it is unknown which weights made the vectors; "
                    "run the command again with the model as it is now"
                )


def _model_files(folder: Path) -> list[Path]:
    weights = sorted(folder.rglob("*.safetensors")) or sorted(folder.rglob("*.bin"))
    configuration = sorted(path for pattern in _CONFIGURATION for path in folder.rglob(pattern))
    return [
        path
        for path in [*weights, *configuration]
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ino
