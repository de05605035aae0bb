"""Lines of a text file from any source: byte-order marks are obeyed, all line endings accepted, wrong bytes named."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path

from alignkit.errors import DataError
from alignkit.file_kinds import real_format
from alignkit.sentences.normalise import is_cjk

# UTF-32 first, because its mark begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WRONG_BYTE = re.compile("[\udc80-\udcff]")
_HEAD_BYTES = 4096
NUL = "\0"
# most letters of Latin text and of markup have NUL bytes beside them in UTF-16 and UTF-32; of any text, all newlines
_MOSTLY = 0.5
_FEW_LINES = 3


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    r"""Yield `(number, line)`, the number from 1 as an editor shows it, the line without its ending.

    UTF-8, or UTF-16 and UTF-32 with a byte-order mark. A line ends with `\n`, `\r\n` or `\r`.

    Raises:
        DataError: for another encoding, a binary file, a Git LFS pointer, a web page.
    """
    with path.open("rb") as raw:
        head = raw.read(_HEAD_BYTES)
        if kind := real_format(path):
            raise DataError(f"{path}: expected text in UTF-8, but it is {kind}")
        raw.seek(0)
        encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        # a byte that is not UTF-8 becomes a lone surrogate, so that its line can be named
        errors = "surrogateescape" if encoding == "utf-8" else "strict"
        with io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=None) as file:
            try:
                for number, line in enumerate(file, start=1):
                    # concatenated files keep the mark of each part
                    text = line.removesuffix("\n").removeprefix("\ufeff")
                    if not text.isascii() or NUL in text:
                        _check(text, path, number, head)
                    yield number, text
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path} begins as {encoding.upper()} but is not: {error.reason}; save it as UTF-8"
                ) from None


def _check(text: str, path: Path, number: int, head: bytes) -> None:
    wrong = _WRONG_BYTE.search(text)
    if (wrong or NUL in text) and (wide := _wide_encoding(head)):
        raise DataError(f"{path}, line {number}: {wide} without a byte-order mark; save the file as UTF-8")
    if NUL in text:
        raise DataError(
            f"{path}, line {number}: character {text.index(NUL) + 1} is NUL (byte 0), which no text holds; remove it, "
            "or give another file if this is not text"
        )
    if wrong:
        before = len(text[: wrong.start()].encode("utf-8"))
        raise DataError(
            f"{path}, line {number}: byte {before + 1} is not UTF-8 (it may be {_likely(text)}); save the file as UTF-8"
        )


def _wide_encoding(head: bytes) -> str:
    r"""UTF-16 or UTF-32, told by where its NUL bytes stand; "" where a few stray ones stand in other text.

    >>> _wide_encoding("some text".encode("utf-16-le")), _wide_encoding(b"some\0text")
    ('UTF-16 (little endian)', '')
    """
    for width, name in ((4, "UTF-32"), (2, "UTF-16")):
        letters = [head[start : start + width] for start in range(0, len(head) - width + 1, width)]
        for endian, zeros in (("little", slice(1, None)), ("big", slice(None, -1))):
            wide = [letter for letter in letters if not any(letter[zeros])]
            newlines = sum(b"\n" in letter for letter in wide)
            all_newlines = newlines >= _FEW_LINES and newlines >= head.count(b"\n") - 1  # the last may be cut
            if all_newlines or sum(map(any, wide)) > _MOSTLY * len(letters):
                return f"{name} ({endian} endian)"
    return ""


def _likely(text: str) -> str:
    try:
        found = text.encode("utf-8", "surrogateescape").decode("gb18030")
    except UnicodeDecodeError:
        found = ""
    foreign = [character for character in found if not character.isascii()]
    return "GBK" if foreign and all(map(is_cjk, foreign)) else "Windows-1252"
