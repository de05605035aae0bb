"""The queries that really came: their texts and, where a log says so, when."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from alignkit.errors import DataError
from alignkit.sentences.sentence_files import column_names, read_rows, text_of

logger = logging.getLogger(__name__)

TEXT_COLUMNS, TIME_COLUMNS = ("text", "query"), ("time", "timestamp", "date")
# several servers write into one log, whose clocks and whose queues differ by so much
_JITTER_S, _AHEAD_S = 3600.0, 86_400.0
# seconds since 1970 stay below it for centuries; milliseconds are above
_MILLISECONDS_FROM = 1e11


@dataclass(frozen=True)
class LiveQueries:
    """Row i of every field is one query; blank ones are left out.

    Attributes:
        texts: N.
        times: N, aware; `None` where the log has none or it cannot be read.
        keys: N, the same for a row that is read again from a log that has grown since.
        notes: what was odd, a sentence each.
    """

    texts: list[str]
    times: list[datetime | None]
    keys: list[str]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: list[int]) -> LiveQueries:
        """Some of the queries, in the given order."""
        texts, times, keys = self.texts, self.times, self.keys
        return LiveQueries(
            [texts[row] for row in rows], [times[row] for row in rows], [keys[row] for row in rows], self.notes
        )

    def latest(self, now: datetime | None = None) -> datetime | None:
        """When the latest of them came; those dated in the future are no measure of that."""
        limit = (now or datetime.now(UTC)) + timedelta(seconds=_AHEAD_S)
        return max((when for when in self.times if when is not None and when <= limit), default=None)

    def day(self, row: int) -> date | None:
        """The day of a query, in UTC."""
        when = self.times[row]
        return None if when is None else when.date()


def read_live(path: str | Path, text_column: str | None = None, now: datetime | None = None) -> LiveQueries:
    """Read a log or a file of queries.

    Args:
        path: as `sentence_files.read_sentences`.
        text_column: of the texts; `None` takes `text`, else `query`.
        now: for what is dated in the future.

    Raises:
        DataError: if the file cannot be read, has no such column, or holds no query.
    """
    path = Path(path).expanduser()
    found = column_names(path)
    text = text_column or next((name for name in TEXT_COLUMNS if name in found), TEXT_COLUMNS[0])
    clock = next((name for name in TIME_COLUMNS if name in found), None)
    texts, times, keys, unread = [], [], [], 0
    for line, row in read_rows(path, (text,), also=() if clock is None else (clock,)):
        one = text_of(row, text, path, line)
        if not one.strip():
            continue
        when = None if clock is None else _time(row.get(clock))
        unread += clock is not None and when is None
        texts.append(one)
        times.append(when)
        place = f"line {line}" if when is None else when.isoformat()
        keys.append(hashlib.blake2b(f"{place}\n{one}".encode(), digest_size=8).hexdigest())
    if not texts:
        raise DataError(f"{path}: holds no query; expected one a row, in a column {text!r} or a line each")
    notes = tuple(_odd_times(times, unread, now or datetime.now(UTC)))
    for note in notes:
        logger.warning("%s: %s", path.name, note)
    return LiveQueries(texts, times, keys, notes)


def _time(value: Any) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970; without a zone it is UTC."""
    try:
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                value = datetime.fromisoformat(value.strip())
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = datetime.fromtimestamp(value / 1000 if abs(value) >= _MILLISECONDS_FROM else value, UTC)
        elif isinstance(value, date) and not isinstance(value, datetime):
            value = datetime(value.year, value.month, value.day)
        if not isinstance(value, datetime):
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _odd_times(times: list[datetime | None], unread: int, now: datetime) -> list[str]:
    notes, back, latest = [], 0, None
    for when in times:
        if when is None:
            continue
        back += latest is not None and (latest - when).total_seconds() > _JITTER_S
        latest = when if latest is None else max(latest, when)
    ahead = sum(when is not None and (when - now).total_seconds() > _AHEAD_S for when in times)
    if unread:
        notes.append(f"{unread:,} of {len(times):,} rows have no time that can be read; they belong to no day")
    if back:
        notes.append(
            f"{back:,} rows are dated more than an hour before an earlier row: a clock ran backwards, or files were "
            "joined; each row counts for the day that it names"
        )
    if ahead:
        notes.append(f"{ahead:,} rows are dated in the future; check the clock of what wrote them")
    return notes
