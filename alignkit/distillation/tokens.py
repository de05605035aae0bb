"""Texts as token ids, of any length, one after another: tokenised once, on disk where they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, NamedTuple

import numpy as np
import torch
from torch import Tensor

from alignkit.errors import AlignkitError

# ids beyond this size are kept on disk
IN_MEMORY_BYTES = 256 * 1024 * 1024
TEXTS_AT_ONCE = 4_096
# gives the ids of each text
IdsOf = Callable[[list[str]], Sequence[Sequence[int]]]


class TokenBatch(NamedTuple):
    """The tokens of B texts.

    Attributes:
        ids: `(tokens,)` int64, those of all texts, one text after another.
        lengths: `(B,)` int64, tokens of each text.
    """

    ids: Tensor
    lengths: Tensor

    def starts(self) -> Tensor:
        """`(B,)` int64, where each text begins in `ids`."""
        return self.lengths.cumsum(0) - self.lengths


@dataclass(frozen=True)
class Tokens:
    """The tokens of N texts.

    Attributes:
        ids: `(tokens,)` int32, an array or a memory map.
        ends: `(N,)` int64, where each text ends in `ids`.
    """

    ids: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def lengths(self) -> np.ndarray:
        """`(N,)` int64, tokens of each text."""
        return np.diff(self.ends, prepend=0)

    def batch(self, rows: np.ndarray, device: torch.device) -> TokenBatch:
        """The tokens of some texts, in the order of `rows`."""
        ends, lengths = self.ends[rows], self.lengths_of(rows)
        firsts = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(ends - lengths - firsts, lengths)
        ids = torch.from_numpy(self.ids[places].astype(np.int64))
        return TokenBatch(ids.to(device), torch.from_numpy(lengths).to(device))

    def lengths_of(self, rows: np.ndarray) -> np.ndarray:
        """`(B,)` int64, tokens of some texts."""
        ends = self.ends[rows]
        return ends - np.where(rows > 0, self.ends[rows - 1], 0)

    @classmethod
    def of(cls, texts: Sequence[str], tokenize: IdsOf) -> Tokens:
        """Tokenise texts, some thousands at a time.

        Args:
            texts: of any number.
            tokenize: gives the ids of each text.

        Raises:
            AlignkitError: if the disk for temporary files is full.
        """
        return cls.joined(packed(texts, tokenize))

    @classmethod
    def joined(cls, parts: Iterable[tuple[np.ndarray, np.ndarray]]) -> Tokens:
        """The tokens of parts of the texts, in their order: ids `(tokens,)` int32, and lengths `(n,)` int64.

        Raises:
            AlignkitError: if the disk for temporary files is full.
        """
        lengths = [np.empty(0, dtype=np.int64)]
        try:
            with tempfile.TemporaryFile() as file:
                for ids, own in parts:
                    lengths.append(own)
                    file.write(ids.tobytes())
                return cls(_read(file), np.cumsum(np.concatenate(lengths)))
        except OSError as error:
            raise AlignkitError(
                f"tokens do not fit into {tempfile.gettempdir()}: {error.strerror}; free space"
            ) from None


# tokenises all texts, in this process or by workers
Tokenize = Callable[[Sequence[str], IdsOf], Tokens]


def packed(texts: Sequence[str], tokenize: IdsOf) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Ids and lengths of some thousands of texts at a time, as `Tokens.joined` takes them."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        part = tokenize([texts[row] for row in range(start, min(start + TEXTS_AT_ONCE, len(texts)))])
        lengths = np.fromiter(map(len, part), dtype=np.int64, count=len(part))
        yield np.fromiter(chain.from_iterable(part), dtype=np.int32, count=int(lengths.sum())), lengths


def _read(file: IO[bytes]) -> np.ndarray:
    """The numbers of a file; a map of it, which outlives the file's name, where they are many."""
    file.flush()
    size = file.tell()
    if size > IN_MEMORY_BYTES:
        return np.memmap(file, dtype=np.int32, mode="r")
    file.seek(0)
    return np.frombuffer(file.read(), dtype=np.int32)
