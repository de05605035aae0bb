"""Lines of a text file, whoever wrote it: a byte-order mark is obeyed, any line ending taken, a wrong byte named."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path

from alignkit.errors import DataError
from alignkit.file_kinds import real_format
from alignkit.sentences.normalise import is_cjk

# UTF-32 first: its mark begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WRONG_BYTE = re.compile("[\udc80-\udcff]")
_HEAD_BYTES = 4096


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
        # a byte that is no UTF-8 becomes half of a surrogate pair, so that its line can be named
        errors = "surrogateescape" if encoding == "utf-8" else "strict"
        with io.TextIOWrapper(raw, encoding=encoding, errors=errors, newline=None) as file:
            try:
                for number, line in enumerate(file, start=1):
                    # files that were put together keep the mark of each part
                    text = line.removesuffix("\n").removeprefix("\ufeff")
                    if not text.isascii() or "\0" in text:
                        _check(text, path, number, head)
                    yield number, text
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path} begins as {encoding.upper()} and is not: {error.reason}; save it as UTF-8"
                ) from None


def _check(text: str, path: Path, number: int, head: bytes) -> None:
    if "\0" in text:
        raise DataError(f"{path}, line {number}: holds NUL characters{_without_mark(head)}; save the file as UTF-8")
    if wrong := _WRONG_BYTE.search(text):
        before = len(text[: wrong.start()].encode("utf-8"))
        raise DataError(
            f"{path}, line {number}: byte {before + 1} is not UTF-8 (it may be {_likely(text)}); save the file as UTF-8"
        )


def _without_mark(head: bytes) -> str:
    """Latin letters have NUL bytes beside them in UTF-16 and UTF-32: where these stand tells which."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    if head[1::4].count(0) + head[2::4].count(0) > 0.9 * len(head) / 2:
        return ", as in UTF-32 without a byte-order mark"
    if max(even, odd) > 10 * min(even, odd):
        return f", as in UTF-16 ({'little' if odd > even else 'big'} endian) without a byte-order mark"
    return ": is it a binary file?"


def _likely(text: str) -> str:
    try:
        found = text.encode("utf-8", "surrogateescape").decode("gb18030")
    except UnicodeDecodeError:
        found = ""
    foreign = [character for character in found if not character.isascii()]
    return "GBK" if foreign and all(map(is_cjk, foreign)) else "Windows-1252"
