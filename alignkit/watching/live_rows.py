"""Rows of queries as they lie on disk: a file, a folder of files, or what a server keeps and is still writing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from alignkit.errors import DataError
from alignkit.object_storage.copies_here import on_disk
from alignkit.sentences.query_logs import LoggedBy, begun_of, logged_by, logged_rows, row_files
from alignkit.sentences.sentence_files import SUFFIXES, column_names, read_rows, text_of

TEXT_COLUMNS, TIME_COLUMNS = ("text", "query"), ("time", "timestamp", "date")


def check_same_student(
    path: str | Path, logged_by: Sequence[LoggedBy], identities: Sequence[Mapping[str, Any]]
) -> None:
    """Refuse the log of a server that served another student.

    Args:
        path: of the log, for the message.
        logged_by: the servers that wrote it.
        identities: of the student, for any of its roles; empty where nothing tells.

    Raises:
        DataError: which names what differs.
    """
    for one in logged_by:
        different = min((one.other_student(identity) for identity in identities), key=len, default=[])
        if different:
            raise DataError(
                f"{path}: the log of a server with another student ({'; '.join(different)}); give the log of a server "
                "with this one, or the texts alone in a file of your own"
            )


class LiveRow(NamedTuple):
    """One query.

    Attributes:
        file: that it is in.
        line: of the file, from 1.
        text: never blank.
        time: as it stands there.
        is_dated: whether the file has a column of times.
    """

    file: Path
    line: int
    text: str
    time: Any
    is_dated: bool


class LiveRows:
    """The queries of a file or a folder, one by one, in order of the files' names. It may be iterated more than once.

    Args:
        path: a file, in object storage too (see `sentence_files.read_sentences`), a folder of such files, or the
            `query_log` of a server.
        text_column: of the texts; `None` takes `text`, else `query`.

    Raises:
        DataError: if there is nothing of the kind.

    Attributes:
        logged_by: the servers that wrote them, where it is their log.
        torn: lines left out so far because they are not whole: of a file that is being written the last, and in a
            server's log those that a crash left.
    """

    def __init__(self, path: str | Path, text_column: str | None = None) -> None:
        self.path = on_disk(path)
        self._text_column = text_column
        self.torn = 0
        self.logged_by: list[LoggedBy] = logged_by(self.path) if self.path.exists() else []
        self._of_server = self.path.is_dir() and bool(self.logged_by or row_files(self.path))

    def __iter__(self) -> Iterator[LiveRow]:
        self.torn = 0
        for file in self._files():
            try:
                yield from self._logged(file) if begun_of(file) is not None else self._given(file)
            except FileNotFoundError:  # the server has dropped it meanwhile
                continue

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        if self._of_server:
            return row_files(self.path)
        found = sorted(one for one in self.path.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file())
        if not found:
            raise DataError(f"{self.path}: holds no file of queries; expected {', '.join(SUFFIXES)}, or a server's log")
        return found

    def _logged(self, file: Path) -> Iterator[LiveRow]:
        for line, row in logged_rows(file):
            if row is None:
                self.torn += 1
            elif row["text"].strip():
                yield LiveRow(file, line, row["text"], row.get("time"), True)

    def _given(self, file: Path) -> Iterator[LiveRow]:
        text, clock = self._columns(file)
        for line, row in self._whole(file, text, clock):
            one = text_of(row, text, file, line)
            if one.strip():
                yield LiveRow(file, line, one, row.get(clock) if clock is not None else None, clock is not None)

    def _columns(self, file: Path) -> tuple[str, str | None]:
        try:
            found = column_names(file)
        except DataError as error:
            rest = list(self._unfinished(file, 0, "", error))
            found = list(rest[0][1]) if rest else []
        text = self._text_column or next((name for name in TEXT_COLUMNS if name in found), TEXT_COLUMNS[0])
        return text, next((name for name in TIME_COLUMNS if name in found), None)

    def _whole(self, file: Path, text: str, clock: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
        last = 0
        try:
            for last, row in read_rows(file, (text,), also=() if clock is None else (clock,)):
                yield last, row
        except DataError as error:
            yield from self._unfinished(file, last, text, error)

    def _unfinished(self, file: Path, after: int, text: str, error: DataError) -> Iterator[tuple[int, dict[str, Any]]]:
        """What comes after a line, where the file's end was just being written; else the error stands."""
        if file.suffix.lower() != ".jsonl" or not file.is_file():
            raise error
        with file.open("rb") as opened:
            for number, line in enumerate(opened, start=1):
                if number <= after or not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    if line.endswith(b"\n"):
                        raise error from None
                    self.torn += 1
                    return
                if not isinstance(row, dict) or (text and text not in row):
                    raise error
                yield number, row
