"""Read rows and sentences from text, JSON, CSV, TSV and Parquet; errors name the file and the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alignkit.errors import DataError
from alignkit.object_storage.copies_here import on_disk
from alignkit.sentences.decoding import read_lines
from alignkit.sentences.delimited import csv_rows, tsv_rows
from alignkit.sentences.json_rows import json_rows
from alignkit.sentences.labels import is_missing, label_of
from alignkit.sentences.parquet_rows import parquet_columns, parquet_rows
from alignkit.sentences.records import Sentence

SUFFIXES = (".txt", ".jsonl", ".json", ".csv", ".tsv", ".parquet")

Row = dict[str, Any]


def read_sentences(path: str | Path, text_column: str = "text") -> list[Sentence]:
    """All sentences of a file in order, including blanks and repetitions.

    Args:
        path: `.txt` (a sentence per line; so is a file without a suffix), `.jsonl`, `.json` (an array), `.csv`, `.tsv`
            (with a header) or `.parquet`; UTF-8, or UTF-16 with a byte-order mark, any line ending.
        text_column: the column of the text. An `id` or `_id` column names the sentences, `label` labels them. Without
            an id the sentence is called `<file>-<row>`; without a label (see `label_of`) it has none.

    Raises:
        DataError: for a missing file, an unknown suffix, a wrong encoding, a broken line (file and number), a missing
            column (with those found), a repeated id.
        MissingExtraError: for Parquet without pyarrow.
    """
    path = on_disk(path)
    sentences: list[Sentence] = []
    line_of: dict[str, int] = {}
    for line, row in read_rows(path, (text_column,), also=("id", "_id", "label")):
        given = row.get("_id") if is_missing(row.get("id")) else row["id"]
        sentence_id = f"{path.stem}-{len(sentences)}" if is_missing(given) else str(given)
        if sentence_id in line_of:
            raise DataError(f"{path}, line {line}: id {sentence_id!r} is already in line {line_of[sentence_id]}")
        line_of[sentence_id] = line
        text, label = text_of(row, text_column, path, line), label_of(row.get("label"))
        sentences.append(Sentence(sentence_id, text, label, has_own_id=not is_missing(given)))
    return sentences


def texts_at(path: str | Path, rows: np.ndarray, text_column: str = "text") -> tuple[dict[int, str], int]:
    """The texts of some rows of a file of sentences, and how many rows it has; no other is kept.

    Args:
        path: see `read_sentences`.
        rows: `(M,)` ascending, counted from 0.
        text_column: likewise.

    Raises:
        DataError: see `read_sentences`; ids are not looked at.
        MissingExtraError: for Parquet without pyarrow.
    """
    path, wanted = on_disk(path), iter(rows.tolist())
    found: dict[int, str] = {}
    count, following = 0, next(wanted, -1)
    for line, row in read_rows(path, (text_column,), also=()):
        text = text_of(row, text_column, path, line)
        if count == following:
            found[count], following = text, next(wanted, -1)
        count += 1
    return found, count


def read_rows(
    path: str | Path, columns: Sequence[str] = (), also: Sequence[str] | None = None
) -> Iterator[tuple[int, Row]]:
    """Yield `(line number, row)` one by one; every row has `columns`.

    Line numbers count from 1, as in an editor; for Parquet and JSON arrays they are row numbers.

    Args:
        path: see `read_sentences`.
        columns: a row without one of them is an error.
        also: further columns of interest; None for all. Of Parquet only these are read.

    Raises:
        DataError: see `read_sentences`.
        MissingExtraError: for Parquet without pyarrow.
    """
    path = on_disk(path)
    if _suffix(path) == ".parquet":
        _require(columns, parquet_columns(path), path, 1)
        yield from parquet_rows(path, None if also is None else {*columns, *also})
        return
    readers = {".txt": _txt, "": _txt, ".jsonl": json_rows, ".json": json_rows, ".csv": csv_rows, ".tsv": tsv_rows}
    for line, row in readers[_suffix(path)](path):
        _require(columns, row, path, line)
        yield line, row


def column_names(path: str | Path) -> list[str]:
    """Names of the columns of a file, for JSON those of the first row; empty if there are no rows.

    Raises:
        DataError: see `read_sentences`.
        MissingExtraError: for Parquet without pyarrow.
    """
    path = on_disk(path)
    if _suffix(path) == ".parquet":
        return parquet_columns(path)
    return list(next(read_rows(path), (0, {}))[1])


def text_of(row: Row, column: str, path: Path, line: int) -> str:
    """The text in a column of a row from `line` of `path`.

    Raises:
        DataError: if it is not text or cannot be written as UTF-8 (a lone surrogate).
    """
    text = row[column]
    if not isinstance(text, str):
        got = "nothing" if is_missing(text) else type(text).__name__
        raise DataError(f"{path}, line {line}: column {column!r} must be text, got {got}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{path}, line {line}: a lone surrogate at character {error.start + 1}") from None
    return text


def _suffix(path: Path) -> str:
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    suffix = path.suffix.lower()
    if suffix and suffix not in SUFFIXES:
        raise DataError(f"cannot read {path}: expected one of {', '.join(SUFFIXES)}, got {suffix!r}")
    return suffix


def _require(columns: Sequence[str], found: Sequence[str] | Row, path: Path, line: int) -> None:
    missing = [name for name in columns if name not in found]
    if missing:
        raise DataError(f"{path}, line {line}: no column {missing[0]!r}; found: {', '.join(found) or 'none'}")


def _txt(path: Path) -> Iterator[tuple[int, Row]]:
    for line, text in read_lines(path):
        yield line, {"text": text}
