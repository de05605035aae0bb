"""What a vector becomes in an index: leading dimensions, int8, or packed bits.

The layouts are those of `sentence_transformers.quantize_embeddings` (int8 and ubinary), which faiss, usearch and most
vector databases take as they are.

Sources: Kusupati et al., Matryoshka representation learning, NeurIPS 2022, for leading dimensions; Yamada, Asai and
Hajishirzi, Efficient passage retrieval with hashing, ACL 2021, for bits that are rescored by float queries; Shakir,
Aarsen and Lee, Binary and scalar embedding quantization, huggingface.co/blog/embedding-quantization (2024), for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from alignkit.errors import ConfigError, DataError
from alignkit.setting_rules import did_you_mean

# a text is told apart by a few hundred buckets a dimension; ranges of fewer texts than this are mostly chance
LEVELS = 255


class Code(Protocol):
    """How an index stores a vector."""

    @property
    def name(self) -> str:
        """For people and for settings."""
        ...

    @property
    def dims(self) -> int:
        """Leading dimensions of the vector that are stored."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Of the stored numbers."""
        ...

    @property
    def width(self) -> int:
        """Stored numbers a vector."""
        ...

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """`(N, D)` float32 of length 1 → `(N, width)`, what is stored."""
        ...

    def scanned(self, codes: np.ndarray) -> np.ndarray:
        """`(N, dims)` float32 whose inner products order texts as a search in the index does."""
        ...

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """`(N, dims)` float32, what is left of the vectors: what a float query is compared with to rescore."""
        ...


@dataclass(frozen=True)
class FloatCode:
    """The numbers themselves.

    >>> FloatCode(2).encode(np.array([[3.0, 4.0, 12.0]], dtype=np.float32) / 13).round(3)
    array([[0.6, 0.8]], dtype=float32)
    """

    dims: int
    name: str = "float32"

    @property
    def dtype(self) -> np.dtype:
        """float32 or float16."""
        return np.dtype(self.name)

    @property
    def width(self) -> int:
        """See `Code`."""
        return self.dims

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """See `Code`."""
        return leading(vectors, self.dims).astype(self.dtype, copy=False)

    def scanned(self, codes: np.ndarray) -> np.ndarray:
        """See `Code`."""
        return codes.astype(np.float32, copy=False)

    decode = scanned


@dataclass(frozen=True)
class Int8Code:
    """One byte a dimension: 256 equal steps between its least and its greatest value.

    Attributes:
        ranges: `(2, dims)` float32, the least and the greatest value of each dimension. What lies outside is clipped.
    """

    ranges: np.ndarray
    name: str = "int8"
    dtype: np.dtype = np.dtype(np.int8)

    @property
    def dims(self) -> int:
        """See `Code`."""
        return self.ranges.shape[1]

    @property
    def width(self) -> int:
        """See `Code`."""
        return self.dims

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """See `Code`."""
        levels = np.floor((leading(vectors, self.dims) - self.ranges[0]) / self._steps)
        return (np.clip(levels, 0, LEVELS) - 128).astype(np.int8)

    def scanned(self, codes: np.ndarray) -> np.ndarray:
        """See `Code`. Indexes multiply the bytes as they are."""
        return codes.astype(np.float32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """See `Code`."""
        return (codes.astype(np.float32) + 128) * self._steps + self.ranges[0]

    @property
    def _steps(self) -> np.ndarray:
        steps = (self.ranges[1] - self.ranges[0]) / LEVELS
        return np.where(steps == 0, 1, steps).astype(np.float32)


@dataclass(frozen=True)
class BinaryCode:
    """One bit a dimension, whether it is above zero; eight to a byte, the first dimension in the highest bit.

    >>> BinaryCode(3).encode(np.array([[0.5, -0.1, 0.2]], dtype=np.float32))
    array([[160]], dtype=uint8)
    """

    dims: int
    name: str = "binary"
    dtype: np.dtype = np.dtype(np.uint8)

    @property
    def width(self) -> int:
        """See `Code`."""
        return -(-self.dims // 8)

    def encode(self, vectors: np.ndarray) -> np.ndarray:
        """See `Code`."""
        return np.packbits(vectors[:, : self.dims] > 0, axis=1)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """See `Code`. ±1, so that an inner product is the width less twice the Hamming distance."""
        return np.unpackbits(codes, axis=1, count=self.dims).astype(np.float32) * 2 - 1

    scanned = decode


KINDS = ("float32", "float16", "int8", "binary")


@dataclass(frozen=True)
class Asked:
    """What codes somebody asked for.

    Attributes:
        kinds: of `KINDS`, in the order asked for.
        dims: widths besides the full one, in the order asked for.
    """

    kinds: tuple[str, ...]
    dims: tuple[int, ...] = ()


def parse_codes(text: str) -> Asked:
    """Read a setting such as `int8,binary,dims=256`.

    Raises:
        ConfigError: for what is no code, a width that is no number above 0, or nothing at all.

    >>> parse_codes("int8, binary, dims=256")
    Asked(kinds=('int8', 'binary'), dims=(256,))
    """
    kinds, dims = [], []
    for part in text.strip("[] ").split(","):
        word = part.strip()
        name, _, number = (piece.strip() for piece in word.partition("="))
        if name == "dims" and number.isdecimal() and int(number) > 0:
            dims.append(int(number))
        elif word in KINDS:
            kinds.append(word)
        else:
            meant = did_you_mean(word, KINDS)
            raise ConfigError(f"codes={text}: expected {', '.join(KINDS)} or dims=256, got '{word}'{meant}")
    return Asked(tuple(dict.fromkeys(kinds)), tuple(dict.fromkeys(dims)))


def check_dims(dims: Iterable[int], teacher_dim: int) -> None:
    """Refuse widths that the vectors do not have.

    Raises:
        ConfigError: for the first of them.
    """
    for width in dims:
        if width > teacher_dim:
            raise ConfigError(f"dims={width}: the vectors have {teacher_dim} dimensions; expected at most as many")


def make_code(kind: str, dims: int, calibration: Iterable[np.ndarray]) -> Code:
    """A code that is ready to encode.

    Args:
        kind: one of `KINDS`.
        dims: leading dimensions to keep.
        calibration: blocks `(N, D)` of what will be stored, or of some of it; read for int8 alone.

    Raises:
        DataError: if int8 is asked for and there is no vector.
    """
    if kind == "int8":
        return Int8Code(ranges_of(calibration, dims))
    return BinaryCode(dims) if kind == "binary" else FloatCode(dims, kind)


def ranges_of(blocks: Iterable[np.ndarray], dims: int) -> np.ndarray:
    """The least and the greatest value of each of the leading dimensions, `(2, dims)` float32.

    Raises:
        DataError: if there is no vector.
    """
    least, greatest = np.full(dims, np.inf, np.float32), np.full(dims, -np.inf, np.float32)
    for block in blocks:
        kept = leading(block, dims)
        if len(kept):
            least, greatest = np.minimum(least, kept.min(axis=0)), np.maximum(greatest, kept.max(axis=0))
    if not np.isfinite(least).all():
        raise DataError("int8 codes need vectors to find the range of each dimension from; there are none")
    return np.stack([least, greatest])


def leading(vectors: np.ndarray, dims: int) -> np.ndarray:
    """The first `dims` numbers of each row, scaled to length 1 again where that is not all: `(N, dims)` float32."""
    kept = np.asarray(vectors[:, :dims], dtype=np.float32)
    if dims >= vectors.shape[1]:
        return kept
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    return kept / np.maximum(lengths, np.finfo(np.float32).tiny)
