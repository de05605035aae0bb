"""Digests of model files, each computed once per process."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from alignkit.errors import EmbedderError

# apart from the weights, the files that determine tokenisation and pooling
_CONFIGURATION = ("*.json", "*.txt", "*.model")


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal; the file is read again only if it has changed."""
    status = path.stat()
    return _digest(str(path.resolve()), status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _digest(path: str, size_bytes: int, modified_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """SHA-256 over a model folder's weights, tokenizer and configuration, independent of the folder's location.

    If there are both safetensors and `.bin` files, only the safetensors count, as when the model is loaded.
    """
    lines = [f"{path.relative_to(folder).as_posix()} {file_digest(path)}" for path in _model_files(folder)]
    return hashlib.sha256("\n".join(lines).encode("utf-8")).hexdigest()


class LoadedFiles:
    """The files of a loaded model. Weights are memory-mapped, so writing to the file changes the model.

    Args:
        folder: of the model, before it is loaded.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stamps = {path: _stamp(path) for path in _model_files(folder)}

    @functools.cached_property
    def digest(self) -> str:
        """Digest of the files as they were loaded.

        Raises:
            EmbedderError: if they have changed since.
        """
        digest = folder_digest(self._folder)
        self.require_unchanged()
        return digest

    def require_unchanged(self) -> None:
        """Raise if a file was written to, replaced or removed.

        Raises:
            EmbedderError: naming the file.
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
