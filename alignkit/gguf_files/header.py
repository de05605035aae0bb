"""The header of a GGUF file, everything before its tensors, read in place.

The layout is that of the specification (`docs/gguf.md` in ggml-org/ggml): magic, version, counts, key-value pairs,
tensor descriptions, padding, data. The package `gguf` reads it too, but takes 16 s and 0.7 GB for a vocabulary of
262,144 words, since it keeps each of them; they are not needed here.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

from alignkit.errors import DataError

MAGIC = b"GGUF"
VERSIONS = (2, 3)
COUNTS_AT = 8
PAIRS_AT = 24
STRING, ARRAY, UINT32 = 8, 9, 4
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
DEFAULT_ALIGNMENT = 32
DEEPEST_ARRAY = 4

Scalar = str | int | float | bool


@dataclass(frozen=True)
class Header:
    """What a file's header says.

    Attributes:
        order: `<` or `>`, for `struct`.
        tensors: number of tensors.
        pairs: number of key-value pairs.
        values: the pairs whose value is not an array.
        places: position of a number's bytes in the file, and their `struct` format.
        pairs_end: where the pairs end and the descriptions of the tensors begin.
        descriptions_end: where those end.
        data_start: where the data begin.
    """

    order: str
    tensors: int
    pairs: int
    values: dict[str, Scalar]
    places: dict[str, tuple[int, str]]
    pairs_end: int
    descriptions_end: int
    data_start: int

    @property
    def architecture(self) -> str:
        """The prefix of the model's own keys, such as `qwen2`; empty if the file does not give it."""
        return str(self.values.get("general.architecture", ""))

    @property
    def alignment(self) -> int:
        """Alignment of the data, in bytes."""
        return _alignment(self.values)

    @property
    def parts(self) -> int:
        """Number of files that the tensors are split over."""
        return int(self.values.get("split.count", 1)) or 1

    @property
    def is_language_model(self) -> bool:
        """False for files that accompany one: an image projector, an adapter."""
        own, vision = (f"{self.architecture}.{name}" in self.values for name in ("block_count", "vision.block_count"))
        is_model = self.values.get("general.type", "model") == "model" and self.architecture not in ("", "clip")
        return is_model and (own or not vision)


def read_header(path: str | Path) -> Header:
    """Read a file's header.

    Args:
        path: of the file; it is not kept open.

    Raises:
        DataError: if it is not a GGUF file, has an unknown version, or is damaged.
        OSError: if it cannot be opened.
    """
    with Path(path).open("rb") as file:
        try:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return HeaderReader(content, path).header()
        except (struct.error, IndexError, OverflowError):
            raise DataError(f"{path}: the file ends or breaks off within its header; copy it again") from None
        except ValueError:  # an empty file cannot be mapped
            raise DataError(f"{path}: the file is empty; expected a GGUF file") from None


def _alignment(values: dict[str, Scalar]) -> int:
    return int(values.get("general.alignment", DEFAULT_ALIGNMENT))


@dataclass
class HeaderReader:
    """Goes through a file's header from its start; `at` is where it is."""

    content: mmap.mmap
    path: str | Path
    order: str = "<"
    at: int = 0
    values: dict[str, Scalar] = field(default_factory=dict)
    places: dict[str, tuple[int, str]] = field(default_factory=dict)

    def header(self) -> Header:
        """Read everything before the data."""
        if self.content[:4] != MAGIC:
            raise DataError(f"{self.path}: not a GGUF file; expected one that starts with the letters GGUF")
        version = struct.unpack_from("<I", self.content, 4)[0]
        if version & 0xFFFF == 0:
            self.order = ">"
            version = struct.unpack_from(">I", self.content, 4)[0]
        if version not in VERSIONS:
            raise DataError(f"{self.path}: GGUF version {version}, expected {' or '.join(map(str, VERSIONS))}")
        self.at = COUNTS_AT
        tensors, pairs = self.number("Q"), self.number("Q")
        for _ in range(pairs):
            self.pair()
        pairs_end = self.at
        for _ in range(tensors):
            self.skip_description()
        alignment = _alignment(self.values)
        if alignment < 1 or alignment & (alignment - 1):
            raise DataError(f"{self.path}: its tensors are aligned to {alignment} bytes, expected a power of two")
        data_start = self.at + -self.at % alignment
        return Header(self.order, tensors, pairs, self.values, self.places, pairs_end, self.at, data_start)

    def number(self, form: str) -> int:
        """A number of a `struct` format."""
        value = struct.unpack_from(self.order + form, self.content, self.at)[0]
        self.at += struct.calcsize(form)
        return int(value)

    def string(self) -> str:
        """A text; bytes that are no UTF-8 are replaced."""
        length = self.number("Q")
        raw = self.content[self.at : self.at + length]
        if len(raw) < length:
            raise IndexError
        self.at += length
        return raw.decode("utf-8", errors="replace")

    def pair(self) -> None:
        """A key and its value."""
        key, kind = self.string(), self.number("I")
        if kind == STRING:
            self.values[key] = self.string()
        elif kind in SCALARS:
            form = self.order + SCALARS[kind]
            self.values[key], self.places[key] = struct.unpack_from(form, self.content, self.at)[0], (self.at, form)
            self.at += struct.calcsize(form)
        else:
            self.skip(kind, DEEPEST_ARRAY)

    def skip(self, kind: int, depth: int) -> None:
        """Pass over a value."""
        if kind in SCALARS:
            self.at += struct.calcsize(SCALARS[kind])
        elif kind == STRING:
            self.skip_string()
        elif kind == ARRAY and depth:
            inner, count = self.number("I"), self.number("Q")
            if inner in SCALARS:
                self.at += count * struct.calcsize(SCALARS[inner])
                return
            for _ in range(count):
                self.skip(inner, depth - 1)
        else:
            raise DataError(
                f"{self.path}: a value of the unknown type {kind} in its header; is alignkit too old for it?"
            )

    def skip_string(self) -> None:
        """Pass over a text."""
        length = self.number("Q")  # this advances the position itself
        self.at += length

    def skip_description(self) -> None:
        """Pass over what is said of a tensor."""
        self.skip_string()
        dimensions = self.number("I")
        self.at += 8 * dimensions + 4 + 8
        if self.at > len(self.content):
            raise IndexError
