"""Read rows and sentences from text, JSON Lines, CSV, TSV and Parquet; a broken line is named by file and number."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alignkit.errors import DataError, MissingExtraError
from alignkit.sentences.records import Sentence

SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")

Row = dict[str, Any]


def read_sentences(path: str | Path, text_column: str = "text") -> list[Sentence]:
    """All sentences of a file in order, blanks and repetitions included.

    Args:
        path: `.txt` (a sentence a line), `.jsonl`, `.csv`, `.tsv` (with a header) or `.parquet`; UTF-8, with or
            without a byte-order mark, any line ending.
        text_column: where the text stands. An `id` or `_id` column names the sentences, `label` labels them; without
            an id the sentence is called `<file>-<row>`.

    Raises:
        DataError: for a missing file, an unknown suffix, a wrong encoding, a broken line (file and number), a missing
            column (with those found), an id that stands twice.
        MissingExtraError: for Parquet without pyarrow.
    """
    path = Path(path)
    sentences: list[Sentence] = []
    line_of: dict[str, int] = {}
    for line, row in read_rows(path, (text_column,)):
        given = row.get("id", row.get("_id"))
        sentence_id = f"{path.stem}-{len(sentences)}" if given is None else str(given)
        if sentence_id in line_of:
            raise DataError(f"{path}, line {line}: id {sentence_id!r} already stands in line {line_of[sentence_id]}")
        line_of[sentence_id] = line
        label = row.get("label")
        text = text_of(row, text_column, path, line)
        sentences.append(Sentence(sentence_id, text, None if label is None else str(label)))
    return sentences


def read_rows(path: str | Path, columns: Sequence[str] = ()) -> Iterator[tuple[int, Row]]:
    """Yield `(line number, row)` one by one; every row has `columns`.

    Line numbers count from 1 as an editor shows them; for Parquet it is the row.

    Raises:
        DataError: see `read_sentences`.
        MissingExtraError: for Parquet without pyarrow.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file {path}")
    readers = {".txt": _txt, ".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(
            f"cannot read {path}: expected one of {', '.join(SUFFIXES)}, got {path.suffix or 'no suffix'!r}"
        )
    for line, row in reader(path):
        missing = [name for name in columns if name not in row]
        if missing:
            raise DataError(f"{path}, line {line}: no column {missing[0]!r}; found: {', '.join(row) or 'none'}")
        yield line, row


def text_of(row: Row, column: str, path: Path, line: int) -> str:
    """The text in a column of a row that was read from `line` of `path`.

    Raises:
        DataError: if it is no text, or cannot be written as UTF-8 (a lone surrogate).
    """
    text = row[column]
    if not isinstance(text, str):
        raise DataError(f"{path}, line {line}: column {column!r} must be text, got {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"{path}, line {line}: half of a surrogate pair at character {error.start + 1}") from None
    return text


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines without their ending. Read as bytes, so that a wrong byte has a line number."""
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            if line == 1:
                if raw.startswith(_UTF16_MARKS):
                    raise DataError(f"{path} is UTF-16; save it as UTF-8")
                raw = raw.removeprefix(b"\xef\xbb\xbf")
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                raise DataError(
                    f"{path}, line {line}: byte {error.start + 1} is not UTF-8; save the file as UTF-8"
                ) from None
            yield line, text.removesuffix("\n").removesuffix("\r")


def _txt(path: Path) -> Iterator[tuple[int, Row]]:
    for line, text in _lines(path):
        yield line, {"text": text}


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    for line, text in _lines(path):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise DataError(f"{path}, line {line}: not JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {line}: expected a JSON object, got {type(row).__name__}")
        yield line, row


def _csv(path: Path) -> Iterator[tuple[int, Row]]:
    reader = csv.reader((text + "\n" for _, text in _lines(path)), strict=True)
    header: list[str] | None = None
    line = 1
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{path}, line {line}: not CSV: {error}") from None
        if fields is None:
            return
        if header is None:
            header = _header(fields, path)
        elif fields:
            yield line, _row(header, fields, path, line)
        line = reader.line_num + 1


def _tsv(path: Path) -> Iterator[tuple[int, Row]]:
    header: list[str] | None = None
    for line, text in _lines(path):
        fields = [_unquote(part) for part in text.split("\t")]
        if header is None:
            header = _header(fields, path)
        elif text:
            yield line, _row(header, fields, path, line)


def _unquote(field: str) -> str:
    """Undo what spreadsheets do to a field with quotes in it; other quotes are part of the text."""
    inner = field[1:-1]
    if len(field) < 2 or field[0] != '"' or field[-1] != '"' or '"' in inner.replace('""', ""):
        return field
    return inner.replace('""', '"')


def _header(fields: list[str], path: Path) -> list[str]:
    twice = [name for index, name in enumerate(fields) if name in fields[:index]]
    if twice:
        raise DataError(f"{path}, line 1: column {twice[0]!r} stands twice")
    return fields


def _row(header: list[str], fields: list[str], path: Path, line: int) -> Row:
    if len(fields) != len(header):
        raise DataError(f"{path}, line {line}: expected {len(header)} columns ({', '.join(header)}), got {len(fields)}")
    return dict(zip(header, fields, strict=True))


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "parquet") from None
    try:
        table = pq.ParquetFile(io.BytesIO(path.read_bytes()))
        line = 0
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                line += 1
                yield line, row
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no Parquet file: {error}") from None
