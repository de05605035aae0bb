"""Appending to a shard: a row is its vector and then its record, and a write that fails leaves no half of one."""

from __future__ import annotations

import logging
import os
import secrets
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.cache.headers import ShardHeader
from alignkit.cache.shards import RECORD, Shard, checksums
from alignkit.errors import CacheError
from alignkit.files import write_whole

log = logging.getLogger(__name__)


class ShardWriter:
    """Appends to a new shard of its own. Not safe for use by two threads at once."""

    def __init__(self, folder: Path, header: ShardHeader) -> None:
        self.shard = Shard(folder, self.new_name(header), header)
        self.rows = 0
        write_whole(self.shard.path("json"), header.to_json())
        self._files = self._open("xb")

    @staticmethod
    def new_name(header: ShardHeader) -> str:
        """A name that no other writer takes, on this machine or another."""
        return f"{header.digest.hex()[:16]}-{secrets.token_hex(8)}"

    def _open(self, mode: str) -> dict[str, Any]:
        files: dict[str, Any] = {}
        try:
            for kind in ("vectors", "keys"):
                # raw files: what append() wrote outlives a killed process
                files[kind] = open(self.shard.path(kind), mode, buffering=0)  # noqa: SIM115
        except OSError as error:
            for file in files.values():
                file.close()
            raise CacheError(f"cannot write to a shard in {self.shard.folder}: {error.strerror or error}") from error
        return files

    def _widths(self) -> dict[str, int]:
        return {"vectors": self.shard.row_bytes, "keys": RECORD.itemsize}

    def append(self, keys: np.ndarray, vectors: np.ndarray) -> None:
        """Write rows; they survive a killed process at once, a power cut after `sync`.

        Args:
            keys: `(n,)` of dtype `KEY`.
            vectors: `(n, dim)` in the shard's dtype.

        Raises:
            CacheError: if the disk refuses (full, gone); the shard then stands as before the call.
        """
        records = np.empty(len(keys), dtype=RECORD)
        records["high"], records["low"] = keys["high"], keys["low"]
        records["checksum"] = checksums(keys, vectors)
        if not self._files:
            self._files = self._open("r+b")
            for kind, width in self._widths().items():
                self._files[kind].seek(self.rows * width)
        try:
            _write_all(self._files["vectors"], vectors)
            _write_all(self._files["keys"], records)
        except BaseException as error:  # an interrupt too must not leave half a row, which would shift all that follow
            self._cut_back()
            if not isinstance(error, OSError):
                raise
            raise CacheError(
                f"cannot write to {self.shard.folder}: {error.strerror or error}; what was stored before is safe, "
                "make room and run the same command again"
            ) from error
        self.rows += len(keys)

    def _cut_back(self) -> None:
        for kind, width in self._widths().items():
            try:
                self._files[kind].truncate(self.rows * width)
                self._files[kind].seek(self.rows * width)
            except OSError:
                log.warning("%s could not be cut back to its last whole row", self.shard.path(kind))

    def sync(self) -> None:
        """Return when all rows are on the disk itself.

        Raises:
            CacheError: if the disk refuses.
        """
        try:
            for file in self._files.values():
                os.fsync(file.fileno())
        except OSError as error:
            raise CacheError(f"cannot write to {self.shard.folder}: {error.strerror or error}") from error

    def is_whole(self) -> bool:
        """Whether the files are as this writer left them; False where somebody deleted or cut them."""
        sizes = {kind: self.rows * width for kind, width in self._widths().items()}
        try:
            return self.shard.path("json").is_file() and all(
                self.shard.path(kind).stat().st_size == size for kind, size in sizes.items()
            )
        except OSError:
            return False

    def close(self) -> None:
        """Let the files go, so that others can delete them; harmless twice, and the next `append` opens them again."""
        for file in self._files.values():
            file.close()
        self._files = {}


def _write_all(file: Any, rows: np.ndarray) -> None:
    view = np.ascontiguousarray(rows).view(np.uint8).reshape(-1).data
    while view:
        view = view[file.write(view) :]
