"""Files of logged texts on disk: appended to by one process, bounded in size and age for all that share the folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alignkit.errors import ConfigError
from alignkit.files import appearing, is_full, why_no_name
from alignkit.sentences.query_logs import (
    LoggedBy,
    about_name,
    begun_of,
    logged_by,
    row_files,
    rows_name,
    writer_of,
)

# of the bound, the most that a file takes: what is dropped at once is no more
PARTS = 8
PRUNE_EVERY_S = 3600.0
MB = 1_000_000


class LogFolder:
    """Where one process appends its rows. No file stays open: others may read, move or remove it, on Windows too.

    Several processes may share the folder. Each has files of its own, and any of them drops the oldest of all.

    Args:
        folder: is made where it is missing, for this user alone.
        by: who writes.
        most_bytes: of all files together; the oldest are dropped.
        days: older rows are dropped, with those of the same file.
        now: the clock.
    """

    def __init__(
        self, folder: Path, by: LoggedBy, most_bytes: int, days: float, now: Callable[[], datetime] | None = None
    ) -> None:
        self.folder, self.by = folder, by
        self.most_bytes, self.days = most_bytes, days
        self._now = now or (lambda: datetime.now(UTC))
        self._current: Path | None = None
        self._pruned_at = float("-inf")
        self._since = 0  # bytes written since then

    @property
    def file_bytes(self) -> int:
        """The size from which on another file is begun."""
        return self.most_bytes // PARTS

    @property
    def is_due(self) -> bool:
        """Whether nobody has looked for a while for what is too old."""
        return time.monotonic() - self._pruned_at > PRUNE_EVERY_S

    def check(self) -> None:
        """Whether the folder can be written and holds no other student's texts; drops what is too old.

        Raises:
            ConfigError: if not. A full disk is no reason: the server comes first.
            DataError: if what tells of an earlier writer is damaged.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            refused = why_no_name(self.folder, len(rows_name(self._now(), self.by.writer)))
        except OSError as error:
            refused = error
        if refused is not None and not is_full(refused):
            raise ConfigError(
                f"query_log={self.folder}: cannot be written ({refused.strerror}); choose another folder, or give this "
                "user the right to write there"
            )
        for other in logged_by(self.folder):
            if different := other.other_student(self.by.student):
                raise ConfigError(
                    f"query_log={self.folder}: holds queries of another student's server ({'; '.join(different)}); "
                    "choose another folder"
                )
        self.prune()

    def append(self, block: bytes) -> None:
        """Append whole lines, to a new file where the day has changed or the current one would grow too large.

        Raises:
            OSError: if the disk refuses; nothing of the block is left then.
        """
        now = self._now()
        if self._since >= self.file_bytes // PARTS or self.is_due:
            self.prune()
        if self._current is None or not self._has_room(self._current, len(block), now):
            self._current = self._begin(now)
        try:
            _append(self._current, block)
        except OSError:
            self._current = None
            raise
        self._since += len(block)

    def prune(self) -> None:
        """Drop the oldest files of all writers that are beyond the bounds; one that is in use is left for later."""
        self._pruned_at, self._since = time.monotonic(), 0
        now = self._now()
        with suppress(OSError):
            found = [(path, begun_of(path) or now, _size(path)) for path in row_files(self.folder)]
            # a file of the future comes from a clock that was wrong: nothing tells its age, so it goes first
            found.sort(key=lambda one: (one[1] <= now + timedelta(hours=1), one[1]))
            total = sum(size for _, _, size in found)
            for path, begun, size in found:
                if now - begun > timedelta(days=self.days) or total > self.most_bytes - self.file_bytes:
                    with suppress(OSError):
                        path.unlink()
                        total -= size
            self._drop_abouts()

    def _drop_abouts(self) -> None:
        left = {writer_of(path) for path in row_files(self.folder)} | {self.by.writer}
        for path in self.folder.glob(about_name("*")):
            # that of a process which is just about to write its first row stays
            if writer_of(path) not in left and time.time() - path.stat().st_mtime > PRUNE_EVERY_S:
                with suppress(OSError):
                    path.unlink()

    def _has_room(self, path: Path, more: int, now: datetime) -> bool:
        begun = begun_of(path)
        return begun is not None and begun.date() == now.date() and 0 < _size(path) <= self.file_bytes - more

    def _begin(self, now: datetime) -> Path:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = self.folder / about_name(self.by.writer)
        if not about.exists():
            with appearing(about) as unfinished:  # half a note would keep readers, and the next server, out
                _append(unfinished, self.by.to_json().encode())
        return self.folder / rows_name(now, self.by.writer)


def _append(path: Path, block: bytes) -> None:
    with open(path, "ab", buffering=0, opener=_for_this_user) as file:
        before = file.seek(0, os.SEEK_END)
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            with suppress(OSError):
                file.truncate(before)
            raise


def _for_this_user(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
