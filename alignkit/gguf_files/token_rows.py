"""The input embeddings of a GGUF file: a row for each of its tokens, dequantised only where it is looked at."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from alignkit.errors import DataError
from alignkit.extras import needing
from alignkit.gguf_files.header import ARRAY, HeaderReader, read_header

TOKENS, EMBEDDINGS = "tokenizer.ggml.tokens", "token_embd.weight"
SPACE = "\u2581"
LONGEST_TOKEN = 40


class TokenRows:
    """Tokens and input embeddings of a model's file.

    Args:
        path: of the file; it is mapped while rows are read.

    Raises:
        DataError: if it is damaged, or has no tokens or input embeddings.
        OSError: if it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        read_header(path)  # whose messages say what is wrong with a file
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            reader = _TokenReader(content, path)
            try:
                header = reader.header()
            except (struct.error, IndexError) as error:
                raise DataError(f"{path}: damaged in its list of tokens ({error}); copy it again") from None
        if not reader.tokens or reader.embeddings is None or header.order != "<":
            raise DataError(f"{path} has no tokens with input embeddings ({EMBEDDINGS}), or is big-endian")
        (self.dim, self._count), self._kind, offset = reader.embeddings
        self._start = header.data_start + offset
        self._ids = {token: number for number, token in reversed(list(enumerate(reader.tokens[: self._count])))}
        byte_level = header.values.get("tokenizer.ggml.model") == "gpt2"
        self._bytes = _letters_of_bytes() if byte_level else None
        self._mark = self._bytes[ord(" ")] if self._bytes else SPACE

    def means(self, words: Sequence[str]) -> np.ndarray:
        """The mean of the rows of each word's tokens, `(N, dim)` float32; zero where no token is in it.

        A word is split by longest match, which is near what the model's own merges give.
        """
        ids = [self.tokens_of(word) for word in words]
        used, places = np.unique([number for own in ids for number in own], return_inverse=True)
        rows, means, start = self._rows(used.astype(np.int64)), np.zeros((len(words), self.dim), np.float32), 0
        for number, own in enumerate(ids):
            if own:
                means[number] = rows[places[start : start + len(own)]].mean(axis=0)
            start += len(own)
        return means

    def tokens_of(self, word: str) -> list[int]:
        """Ids of a word's tokens, as it stands behind a space."""
        rest = "".join(self._bytes[byte] for byte in word.encode()) if self._bytes else word
        found: list[int] = []
        for mark in (self._mark, ""):
            while rest:
                lengths = range(min(len(rest), LONGEST_TOKEN), 0, -1)
                length = next((length for length in lengths if mark + rest[:length] in self._ids), 0)
                if length:
                    found.append(self._ids[mark + rest[:length]])
                elif mark:
                    break
                rest = rest[length or 1 :]
                if mark:  # only the first token has the space
                    break
        return found

    def _rows(self, ids: np.ndarray) -> np.ndarray:
        with needing("gguf"):
            from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize
        try:
            kind = GGMLQuantizationType(self._kind)
            block, size = GGML_QUANT_SIZES[kind]
            shape = (self._count, self.dim // block * size)
            raw = np.array(np.memmap(self._path, np.uint8, "r", self._start, shape)[ids])
            return np.asarray(dequantize(raw, kind), dtype=np.float32).reshape(len(ids), self.dim)
        except (ValueError, KeyError, NotImplementedError) as error:
            reason = str(error).splitlines()[0][:100]
            raise DataError(f"{self._path}: its input embeddings cannot be read ({reason}); copy it again") from None


@dataclass
class _TokenReader(HeaderReader):
    tokens: list[str] = field(default_factory=list)
    embeddings: tuple[tuple[int, int], int, int] | None = None

    def pair(self) -> None:
        """Keep the tokens; everything else as before."""
        start = self.at
        if self.string() == TOKENS and self.number("I") == ARRAY:
            self.number("I")
            self.tokens = [self.string() for _ in range(self.number("Q"))]
            return
        self.at = start
        super().pair()

    def skip_description(self) -> None:
        """Keep where the embeddings are."""
        start = self.at
        name, dimensions = self.string(), self.number("I")
        if name == EMBEDDINGS and dimensions == len(("width", "tokens")):
            width, count = self.number("Q"), self.number("Q")
            self.embeddings = (width, count), self.number("I"), self.number("Q")
        self.at = start
        super().skip_description()


def _letters_of_bytes() -> list[str]:
    """How a byte-level vocabulary (GPT-2's) writes each byte: itself where it can be seen, else a letter above 255."""
    seen = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in seen else chr(next(hidden)) for byte in range(256)]
