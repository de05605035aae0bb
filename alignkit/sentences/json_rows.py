"""Rows of JSON: one object per line, or one array of objects."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from alignkit.errors import DataError
from alignkit.sentences.decoding import read_lines


def json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows of a file in either form, numbered by line, or by row in an array.

    Raises:
        DataError: for invalid JSON, and for rows that are not objects.
    """
    lines = ((number, text) for number, text in read_lines(path) if text.strip())
    first = next(lines, None)
    if first is None:
        return
    if first[1].lstrip().startswith("["):
        yield from _of_array(path)
        return
    for line, text in chain([first], lines):
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}, line {line}: not JSON: {error}; expected one object per line") from None
        yield line, _checked(row, path, line)


def _of_array(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        rows = json.loads("\n".join(text for _, text in read_lines(path)))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}; expected an array of objects, or one object per line") from None
    for number, row in enumerate(rows, start=1):
        yield number, _checked(row, path, number)


def _checked(row: object, path: Path, line: int) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise DataError(f"{path}, line {line}: expected a JSON object, got {type(row).__name__}")
    return row
