"""The folder in which servers keep some of the texts that they were asked for: what its files are called and hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alignkit.embedders.sameness import agrees, differences
from alignkit.errors import DataError

_STAMP = "%Y%m%dT%H%M%SZ"
_ROWS = re.compile(r"(\d{8}T\d{6}Z)-([0-9a-f]{8})\.jsonl")
_ABOUT = re.compile(r"about-([0-9a-f]{8})\.json")


@dataclass(frozen=True)
class LoggedBy:
    """The server that wrote some of the files.

    Attributes:
        writer: eight hexadecimal digits, which name its files and seed its draws: no two processes share a file, nor
            take the same places of their streams.
        student: identity of the student that it served.
        head: SHA-256 of the head's weights.
        teacher: identity of the head's teacher; `None` where the head does not name it.
        share: of the texts that are kept.
        started: when it began, ISO 8601.
    """

    writer: str
    student: dict[str, Any] | None
    head: str
    teacher: dict[str, Any] | None
    share: float
    started: str

    def other_student(self, identity: Mapping[str, Any] | None) -> list[str]:
        """What differs between the student that was served and another one, in words; empty for nothing."""
        if self.student is None or identity is None or agrees(identity, self.student):
            return []
        return differences(self.student, identity)

    def to_json(self) -> str:
        """The file beside its rows."""
        holds = (
            "a random share of the texts that a server was asked for, each with time, path, route and confidence; "
            "they may hold personal data; drawn by a generator that the writer's name seeds"
        )
        return json.dumps({"holds": holds, **asdict(self)}, ensure_ascii=False, indent=2) + "\n"


def about_name(writer: str) -> str:
    """Name of the file that tells of a writer."""
    return f"about-{writer}.json"


def rows_name(begun: datetime, writer: str) -> str:
    """Name of a file of rows; in order of the names, rows are in order of time.

    >>> rows_name(datetime(2026, 5, 4, 10, 15, tzinfo=UTC), "0011aabb")
    '20260504T101500Z-0011aabb.jsonl'
    """
    return f"{begun.astimezone(UTC):{_STAMP}}-{writer}.jsonl"


def begun_of(path: Path) -> datetime | None:
    """When a file of rows was begun, by its name; `None` for any other file."""
    found = _ROWS.fullmatch(path.name)
    try:
        return found and datetime.strptime(found[1], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None


def writer_of(path: Path) -> str | None:
    """Whose file of rows, or about whom, this is; `None` for any other file."""
    found = _ABOUT.fullmatch(path.name)
    return found[1] if found else (m[2] if (m := _ROWS.fullmatch(path.name)) else None)


def row_files(folder: Path) -> list[Path]:
    """The files of rows in a folder, the oldest first."""
    return sorted((path for path in folder.iterdir() if begun_of(path) is not None), key=lambda path: path.name)


def logged_by(path: Path) -> list[LoggedBy]:
    """Who wrote a folder, or a single file of rows in one; empty where nothing tells.

    Raises:
        DataError: if what tells of a writer is damaged.
    """
    if path.is_dir():
        abouts = sorted(one for one in path.iterdir() if _ABOUT.fullmatch(one.name))
    else:
        writer = writer_of(path)
        abouts = [path.with_name(about_name(writer))] if writer is not None else []
    found = []
    for about in abouts:
        try:
            told = json.loads(about.read_text(encoding="utf-8"))
            found.append(LoggedBy(**{name: told[name] for name in LoggedBy.__dataclass_fields__}))
        except FileNotFoundError:  # the server has removed it meanwhile, with its rows
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{about}: does not tell which server wrote the log ({error}); put it back from a copy, or remove it"
            ) from None
    return found


def logged_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Yield `(line number, row)` of a file that a server may be writing; `None` for a line that is not whole.

    A crash, or a disk that was full, may leave such a line at the end of any file.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            yield number, row if isinstance(row, dict) and isinstance(row.get("text"), str) else None
