"""Rows of CSV and TSV, as spreadsheets and scripts write them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from alignkit.errors import DataError
from alignkit.sentences.decoding import read_lines

# Python's default limit is 131,072 characters; this is the largest C long on Windows
_LONGEST_FIELD = 2**31 - 1
_DELIMITERS = (",", ";", "\t")
_TOLD_BY_EXCEL = re.compile('"?sep=(.)"?', re.IGNORECASE)


def csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a CSV file, keyed by its header; the separator is the comma, semicolon or tab that gives most columns.

    Raises:
        DataError: for an unclosed quote, a row of another width than the header, a repeated column name.
    """
    lines = (text for _, text in read_lines(path))
    first = next(lines, None)
    if first is None:
        return
    told = _TOLD_BY_EXCEL.fullmatch(first)
    skipped = 1 if told else 0
    first = next(lines, "") if told else first
    delimiter = told[1] if told else _delimiter_of(first)
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader(
        (text + "\n" for text in chain([first], lines)),
        delimiter=delimiter,
        strict=True,
        skipinitialspace=f"{delimiter} " in first,
    )
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1 + skipped
        try:
            fields = next(reader, None)
        except csv.Error as error:
            why = "a quoted field does not end, or contains a quote that is not doubled"
            raise DataError(f"{path}, line {line}: not CSV: {why} ({error})") from None
        if fields is None:
            return
        if header is None:
            header = _header(fields, path)
        elif fields:
            yield line, _row(header, fields, path, line)


def tsv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a TSV file, keyed by its header. A quote is text unless a spreadsheet put it around a field.

    Raises:
        DataError: for a row of another width than the header, a repeated column name.
    """
    header: list[str] | None = None
    for line, text in read_lines(path):
        fields = [_unquote(part) for part in text.split("\t")]
        if header is None:
            header = _header(fields, path)
        elif text:
            yield line, _row(header, fields, path, line)


def _delimiter_of(header: str) -> str:
    bare = re.sub('"[^"]*"', "", header)
    return max(_DELIMITERS, key=bare.count)  # the first wins a tie: the comma


def _unquote(field: str) -> str:
    """Undo a spreadsheet's quoting of a field; other quotes are part of the text."""
    inner = field[1:-1]
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')


def _header(fields: list[str], path: Path) -> list[str]:
    header = [name.strip() for name in fields]
    twice = [name for index, name in enumerate(header) if name and name in header[:index]]
    if twice:
        raise DataError(f"{path}, line 1: column {twice[0]!r} appears twice; rename one")
    return header


def _row(header: list[str], fields: list[str], path: Path, line: int) -> dict[str, Any]:
    while len(fields) > len(header) and not fields[-1]:
        fields.pop()  # spreadsheets pad rows with empty cells
    if len(fields) != len(header):
        quotes = "; text with a separator or a line break in it needs quotes" if path.suffix.lower() == ".csv" else ""
        raise DataError(
            f"{path}, line {line}: expected {len(header)} columns ({', '.join(header)}), got {len(fields)}{quotes}"
        )
    # spreadsheets and row numbers leave columns without a name
    return {name: field for name, field in zip(header, fields, strict=True) if name}
