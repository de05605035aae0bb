"""A copy of a GGUF file with a pooling type added, generated while the file is read: nothing is written to disk.

llama.cpp returns a text's vector only if it knows how to pool the vectors of its tokens. It reads this from the file's
`<architecture>.pooling_type`, which chat models lack.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from alignkit.errors import DataError
from alignkit.gguf_files.header import COUNTS_AT, PAIRS_AT, STRING, UINT32, Header, read_header

# llama.cpp's enum llama_pooling_type; 0 is none, 2 (cls) and 4 (rank) suit no chat model
POOLINGS = {"mean": 1, "last": 3}
CHUNK_BYTES = 1 << 20

Progress = Callable[[int], None]


class PooledCopy:
    """The bytes of a model's file with a pooling type, otherwise unchanged.

    The key is added after the others, so the tensors move by some bytes. Their stored offsets are relative to the start
    of the data and stay valid.

    Args:
        path: of the model's file; it is only read.
        pooling: `last` or `mean`.
        notes: texts for the copy's header by key; an existing key keeps its value.

    Raises:
        DataError: if the file is not a GGUF file, or one of several parts.
        OSError: if it cannot be read.
    """

    def __init__(self, path: str | Path, pooling: str, notes: Mapping[str, str]) -> None:
        self.path = Path(path)
        self.header = read_header(self.path)
        if self.header.parts > 1:
            raise DataError(
                f"{path}: one of {self.header.parts} parts of a model; join them first with "
                "`llama-gguf-split --merge FIRST_PART JOINED.gguf` and give gguf=JOINED.gguf"
            )
        if not self.header.architecture:
            raise DataError(f"{path}: it has no general.architecture; expected the file of a language model")
        self._start = _changed_start(self.path, self.header, POOLINGS[pooling], notes)
        self._rest = max(0, self.path.stat().st_size - self.header.data_start)

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self._start) + self._rest

    def chunks(self, progress: Progress | None = None) -> Iterator[bytes]:
        """The copy, piece by piece.

        Args:
            progress: called with the bytes of each piece.

        Raises:
            DataError: if the file has shrunk.
        """
        for chunk in self._pieces():
            yield chunk
            if progress is not None:
                progress(len(chunk))

    def digests(self, progress: Progress | None = None) -> tuple[str, str]:
        """SHA-256 of the file and of the copy, in one pass."""
        original, copy = hashlib.sha256(), hashlib.sha256()
        with self.path.open("rb") as file:
            original.update(file.read(self.header.data_start))
        for place, chunk in enumerate(self.chunks(progress)):
            copy.update(chunk)
            if place:
                original.update(chunk)
        return original.hexdigest(), copy.hexdigest()

    def _pieces(self) -> Iterator[bytes]:
        yield self._start
        left = self._rest
        with self.path.open("rb") as file:
            file.seek(self.header.data_start)
            while left:
                chunk = file.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise DataError(f"{self.path}: the file became {left} bytes shorter while it was read")
                left -= len(chunk)
                yield chunk


def _changed_start(path: Path, header: Header, pooling: int, notes: Mapping[str, str]) -> bytes:
    order, key = header.order, f"{header.architecture}.pooling_type"
    with path.open("rb") as file:
        start = bytearray(file.read(header.descriptions_end))
    new = [_string_pair(order, name, text) for name, text in notes.items() if name not in header.values]
    if key in header.places:
        at, form = header.places[key]
        struct.pack_into(form, start, at, pooling)
    else:
        new.append(_string(order, key) + struct.pack(f"{order}II", UINT32, pooling))
    struct.pack_into(f"{order}QQ", start, COUNTS_AT, header.tensors, header.pairs + len(new))
    pairs, descriptions = start[PAIRS_AT : header.pairs_end], start[header.pairs_end :]
    changed = bytes(start[:PAIRS_AT] + pairs + b"".join(new) + descriptions)
    return changed + bytes(-len(changed) % header.alignment)


def _string(order: str, text: str) -> bytes:
    raw = text.encode("utf-8")
    return struct.pack(f"{order}Q", len(raw)) + raw


def _string_pair(order: str, key: str, value: str) -> bytes:
    return _string(order, key) + struct.pack(f"{order}I", STRING) + _string(order, value)
