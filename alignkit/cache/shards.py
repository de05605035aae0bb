"""A shard: the vectors of one identity, written by one writer, once.

    <name>.json     the header: what made the vectors, their width and type; written first, complete or not at all
    <name>.vectors  rows of `dim` float16 or float32, nothing else: `numpy.memmap` opens it
    <name>.keys     a record a row: the key, and a checksum over the key and the vector

A record is written after its vector, so whatever has a record whose checksum holds is whole, and a crash can only
leave a tail that shows itself.
"""

from __future__ import annotations

import logging
import os
import secrets
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.cache.headers import ShardHeader, write_whole
from alignkit.cache.keys import KEY
from alignkit.errors import CacheError

log = logging.getLogger(__name__)

RECORD = np.dtype([*((name, KEY[name].str) for name in KEY.names or ()), ("checksum", "<u4")])
SCAN_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Shard:
    """The files of one shard, for reading. No file stays open or mapped between two calls."""

    folder: Path
    name: str
    header: ShardHeader

    def path(self, kind: str) -> Path:
        """Of the part `json`, `vectors` or `keys`."""
        return self.folder / f"{self.name}.{kind}"

    @property
    def row_bytes(self) -> int:
        """Bytes of one vector."""
        return self.header.dim * np.dtype(self.header.dtype).itemsize

    def rows_on_disk(self) -> int:
        """Rows that have both a vector and a record; 0 where a file is gone."""
        try:
            return min(
                self.path("vectors").stat().st_size // self.row_bytes,
                self.path("keys").stat().st_size // RECORD.itemsize,
            )
        except FileNotFoundError:
            return 0

    def bytes_on_disk(self) -> int:
        """Of all three files."""
        return sum(path.stat().st_size for kind in ("json", "vectors", "keys") if (path := self.path(kind)).is_file())

    def records(self, rows: slice | np.ndarray) -> np.ndarray:
        """Records `(n,)` of dtype `RECORD`, copied."""
        return self._read("keys", RECORD, (), rows)

    def vectors(self, rows: slice | np.ndarray) -> np.ndarray:
        """Vectors `(n, dim)` in the shard's own type, copied."""
        return self._read("vectors", np.dtype(self.header.dtype), (self.header.dim,), rows)

    def _read(self, kind: str, dtype: np.dtype, shape: tuple[int, ...], rows: slice | np.ndarray) -> np.ndarray:
        # mapped for this call alone: a mapped file can be neither deleted nor replaced on Windows, and its pages
        # would count as this process's memory
        count = self.rows_on_disk()
        if not count:
            return np.empty((0, *shape), dtype=dtype)
        mapped = np.asarray(np.memmap(self.path(kind), dtype=dtype, mode="r", shape=(count, *shape)))
        return mapped[rows].copy() if isinstance(rows, slice) else mapped[rows]

    def intact_rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Check rows against their checksums.

        Returns:
            keys `(stop - start,)` of dtype `KEY`, and a bool for each: False for a damaged row and for a forgotten one.
        """
        keys = np.empty(stop - start, dtype=KEY)
        intact = np.zeros(stop - start, dtype=bool)
        step = max(1, SCAN_BYTES // self.row_bytes)
        for begin in range(start, stop, step):
            part = slice(begin, min(begin + step, stop))
            records = self.records(part)
            here = slice(begin - start, begin - start + len(records))
            keys["high"][here], keys["low"][here] = records["high"], records["low"]
            live = (records["high"] != 0) | (records["low"] != 0)
            intact[here] = live & (records["checksum"] == checksums(keys[here], self.vectors(part)))
        return keys, intact

    def erase(self, rows: np.ndarray) -> None:
        """Overwrite rows in place with zeros, the records first; who still holds their place finds another key there.

        Raises:
            CacheError: if the disk refuses.
        """
        try:
            for kind, width in (("keys", RECORD.itemsize), ("vectors", self.row_bytes)):
                with open(self.path(kind), "r+b", buffering=0) as file:
                    for row in rows.tolist():
                        file.seek(row * width)
                        file.write(bytes(width))
                    os.fsync(file.fileno())
        except OSError as error:
            raise CacheError(f"cannot write to {self.path('vectors')}: {error.strerror or error}") from error

    def delete(self) -> None:
        """Remove the three files, the header first: without it the rest is not a shard.

        Raises:
            CacheError: if another process holds one of them (Windows).
        """
        for kind in ("json", "keys", "vectors"):
            try:
                self.path(kind).unlink(missing_ok=True)
            except OSError as error:
                raise CacheError(
                    f"cannot delete {self.path(kind)}: {error.strerror}; close what uses the cache and run it again"
                ) from None


def checksums(keys: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """CRC-32 over each key and its vector: `(n,)` uint32."""
    key_bytes, vector_bytes = _row_bytes(keys), _row_bytes(vectors)
    crc32 = zlib.crc32
    found = [crc32(vector, crc32(key)) for key, vector in zip(key_bytes, vector_bytes, strict=True)]
    return np.array(found, dtype=np.uint32)


def _row_bytes(rows: np.ndarray) -> list[memoryview]:
    rows = np.ascontiguousarray(rows)
    width = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
    view = rows.view(np.uint8).reshape(-1).data
    return [view[start : start + width] for start in range(0, len(rows) * width, width)]


class ShardWriter:
    """Appends to a new shard of its own. Not for two threads at once."""

    def __init__(self, folder: Path, header: ShardHeader) -> None:
        self.shard = Shard(folder, self.new_name(header), header)
        self.rows = 0
        try:
            write_whole(self.shard.path("json"), header.to_json())
            # raw files: what append() wrote outlives a killed process
            self._vectors = open(self.shard.path("vectors"), "xb", buffering=0)  # noqa: SIM115
            self._keys = open(self.shard.path("keys"), "xb", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise CacheError(f"cannot begin a shard in {folder}: {error.strerror or error}") from error

    @staticmethod
    def new_name(header: ShardHeader) -> str:
        """A name that no other writer takes, on this machine or another."""
        return f"{header.digest.hex()[:16]}-{secrets.token_hex(8)}"

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
        try:
            _write_all(self._vectors, vectors)
            _write_all(self._keys, records)
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
        for file, width in ((self._keys, RECORD.itemsize), (self._vectors, self.shard.row_bytes)):
            try:
                file.truncate(self.rows * width)
                file.seek(self.rows * width)
            except OSError:
                log.warning("%s could not be cut back to its last whole row", self.shard.path("vectors"))

    def sync(self) -> None:
        """Return when all rows are on the disk itself.

        Raises:
            CacheError: if the disk refuses.
        """
        try:
            for file in (self._vectors, self._keys):
                os.fsync(file.fileno())
        except OSError as error:
            raise CacheError(f"cannot write to {self.shard.folder}: {error.strerror or error}") from error

    def close(self) -> None:
        """Free the files; harmless twice."""
        self._vectors.close()
        self._keys.close()


def _write_all(file: Any, rows: np.ndarray) -> None:
    view = np.ascontiguousarray(rows).view(np.uint8).reshape(-1).data
    while view:
        view = view[file.write(view) :]
