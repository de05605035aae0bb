"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from alignkit.errors import AlignkitError


def write_whole(path: Path, content: str | bytes, encoding: str = "utf-8") -> None:
    """Write beside the path, flush to the disk, then rename: no reader ever sees half a file.

    Args:
        path: of the file; missing folders above it are made.
        content: text is encoded, its line endings stay as they are.
        encoding: of text.

    Raises:
        AlignkitError: if it cannot be written, on a full disk for instance.
    """
    temporary = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode(encoding) if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        try:
            temporary.unlink(missing_ok=True)
        except OSError:
            pass
        raise AlignkitError(f"{path}: could not be written ({error.strerror}); free some space and try again") from None
