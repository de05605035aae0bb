"""The queries that really came: their texts and, where a log says so, when."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from pathlib import Path
from typing import Any

from alignkit.errors import DataError
from alignkit.sentences.query_logs import LoggedBy
from alignkit.watching.live_rows import LiveRows

logger = logging.getLogger(__name__)

# they are held in memory, some 40 MB
MOST_KEPT = 100_000
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
        logged_by: the servers that wrote them, where that is known.
    """

    texts: list[str]
    times: list[datetime | None]
    keys: list[str]
    notes: tuple[str, ...] = ()
    logged_by: tuple[LoggedBy, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: list[int]) -> LiveQueries:
        """Some of the queries, in the given order."""
        texts, times, keys = self.texts, self.times, self.keys
        return replace(
            self,
            texts=[texts[row] for row in rows],
            times=[times[row] for row in rows],
            keys=[keys[row] for row in rows],
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
    """Read queries; of more than MOST_KEPT a random sample, the same rows again while the log grows.

    Args:
        path: see `LiveRows`.
        text_column: likewise.
        now: for what is dated in the future.

    Raises:
        DataError: if a file cannot be read, has no such column, or there is no query.
    """
    rows = LiveRows(path, text_column)
    kept, times = _Kept(), _Times(now or datetime.now(UTC))
    for row in rows:
        when = None if row.time is None else time_of(row.time)
        times.add(row.file, when, is_unread=row.is_dated and when is None)
        where = f"{row.file.name} line {row.line}" if rows.path.is_dir() else f"line {row.line}"
        place = where if when is None else when.isoformat()
        kept.add(row.text, when, hashlib.blake2b(f"{place}\n{row.text}".encode(), digest_size=8).hexdigest())
    if not kept.seen:
        more = "; its server has kept none yet" if rows.logged_by else ", in a column 'text' or 'query', or a line each"
        raise DataError(f"{rows.path}: holds no query; expected one a row{more}")
    notes = kept.notes() + times.notes(kept.seen)
    if rows.torn:
        notes.append(f"lines left out because they are not whole, being written or cut off: {rows.torn:,}")
    for note in notes:
        logger.warning("%s: %s", rows.path.name, note)
    texts, whens, keys = kept.columns()
    return LiveQueries(texts, whens, keys, tuple(notes), tuple(rows.logged_by))


class _Kept:
    """The rows whose keys are the lowest: keys are hashes, so that this is a random sample."""

    def __init__(self) -> None:
        self.seen = 0
        self._rows: list[tuple[str, int, str, datetime | None]] = []
        self._limit: str | None = None  # keys from here on are not kept

    def add(self, text: str, when: datetime | None, key: str) -> None:
        self.seen += 1
        if self._limit is None or key < self._limit:
            self._rows.append((key, self.seen, text, when))
            if len(self._rows) >= 2 * MOST_KEPT:
                self._cut()

    def _cut(self) -> None:
        if len(self._rows) > MOST_KEPT:
            self._rows.sort(key=itemgetter(0))
            del self._rows[MOST_KEPT:]
            self._limit = self._rows[-1][0]

    def columns(self) -> tuple[list[str], list[datetime | None], list[str]]:
        """Texts, times and keys, in the order in which they came."""
        self._cut()
        self._rows.sort(key=itemgetter(1))
        return [row[2] for row in self._rows], [row[3] for row in self._rows], [row[0] for row in self._rows]

    def notes(self) -> list[str]:
        if self.seen <= MOST_KEPT:
            return []
        return [f"of {self.seen:,} queries, a random sample of {MOST_KEPT:,} is looked at"]


class _Times:
    """What is odd about the times of rows, counted as they come."""

    def __init__(self, now: datetime) -> None:
        self._limit = now + timedelta(seconds=_AHEAD_S)
        self._file: Path | None = None
        self._latest: datetime | None = None
        self._unread, self._back, self._ahead = 0, 0, 0

    def add(self, file: Path, when: datetime | None, is_unread: bool) -> None:
        if file != self._file:  # of several servers, or days
            self._file, self._latest = file, None
        self._unread += is_unread
        if when is None:
            return
        self._back += self._latest is not None and (self._latest - when).total_seconds() > _JITTER_S
        self._latest = when if self._latest is None else max(self._latest, when)
        self._ahead += when > self._limit

    def notes(self, rows: int) -> list[str]:
        notes = []
        if self._unread:
            notes.append(f"rows that belong to no day, without a time that can be read: {self._unread:,} of {rows:,}")
        if self._back:
            notes.append(
                f"rows dated more than an hour before an earlier row: {self._back:,}; a clock ran backwards, or files "
                "were joined; each row counts for the day that it names"
            )
        if self._ahead:
            notes.append(f"rows dated in the future: {self._ahead:,}; check the clock of what wrote them")
        return notes


def time_of(value: Any) -> datetime | None:
    """ISO 8601, or seconds or milliseconds since 1970; without a zone it is UTC. `None` for anything else."""
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
