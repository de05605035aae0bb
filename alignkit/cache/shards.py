"""A shard: the vectors of one identity, written by one writer, once.

    <name>.json     the header: what made the vectors, their width and type; written first, complete or not at all
    <name>.vectors  rows of `dim` float16 or float32, nothing else: `numpy.memmap` opens it
    <name>.keys     a record a row: the key, and a checksum over the key and the vector

A record is written after its vector, so whatever has a record whose checksum holds is whole, and a crash can only
leave a tail that shows itself.
"""

from __future__ import annotations

import os
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from alignkit.cache.headers import ShardHeader
from alignkit.cache.keys import KEY
from alignkit.errors import CacheError
from alignkit.files import move

RECORD = np.dtype([*((name, KEY[name].str) for name in KEY.names or ()), ("checksum", "<u4")])
SCAN_BYTES = 32 * 1024 * 1024
# the file that is likeliest to be in use comes first, so that nothing has been touched where it is
KINDS = ("vectors", "keys", "json")
# ending of a file that is about to be deleted
DELETED = ".deleted"


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
        return sum(path.stat().st_size for kind in KINDS if (path := self.path(kind)).is_file())

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

    def checked(self, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Read rows and compare them with their checksums.

        Returns:
            keys `(n,)` of dtype `KEY`, vectors `(n, dim)`, and a bool for each row: False for a damaged one and for a
            forgotten one.
        """
        records, vectors = self.records(rows), self.vectors(rows)
        keys = np.empty(len(records), dtype=KEY)
        keys["high"], keys["low"] = records["high"], records["low"]
        live = (keys["high"] != 0) | (keys["low"] != 0)
        return keys, vectors, live & (records["checksum"] == checksums(keys, vectors))

    def intact_rows(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Check rows against their checksums.

        Returns:
            keys `(stop - start,)` of dtype `KEY`, and a bool for each: see `checked`.
        """
        keys = np.zeros(stop - start, dtype=KEY)
        intact = np.zeros(stop - start, dtype=bool)
        step = max(1, SCAN_BYTES // self.row_bytes)
        for begin in range(start, stop, step):
            part, _, sound = self.checked(slice(begin, min(begin + step, stop)))
            here = slice(begin - start, begin - start + len(part))
            keys[here], intact[here] = part, sound
        return keys, intact

    def erase(self, rows: np.ndarray) -> None:
        """Overwrite rows with zeros in place, records first, so that a reader that knows the place sees another key.

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
        """Remove all files or none: Windows cannot delete a file that is open, and half a shard is useless.

        Raises:
            CacheError: if one of them is in use; the shard is then as before.
        """
        gone: list[tuple[Path, Path]] = []
        for kind in KINDS:
            path = self.path(kind)
            try:
                # a file that can be renamed can be deleted, and a rename can be undone
                move(path, deleted := path.with_name(path.name + DELETED))
            except FileNotFoundError:
                continue
            except OSError as error:
                for before, after in gone:
                    move(after, before)
                raise CacheError(f"{path} is in use ({error.strerror or error})") from None
            gone.append((path, deleted))
        for _, deleted in gone:
            with suppress(OSError):  # the next prune removes it
                deleted.unlink()


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
