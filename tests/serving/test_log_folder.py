"""The files of a query log: bounded in size and age, written by several processes, whole whatever the disk does."""

import errno
import json
import os
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context

import pytest

from alignkit.errors import DataError
from alignkit.sentences.query_logs import LoggedBy, about_name, begun_of, logged_by, logged_rows, row_files
from alignkit.serving import log_folder
from alignkit.serving.log_folder import LogFolder

START = datetime(2026, 5, 4, 23, 59, 58, tzinfo=UTC)
ROW = json.dumps({"text": "x" * 80}).encode() + b"\n"


def by(writer="0011aabb"):
    return LoggedBy(writer, None, "cd" * 32, None, 1.0, START.isoformat())


class Clock:
    def __init__(self, now=START):
        self.now = now

    def __call__(self):
        return self.now


def rows(folder):
    return [row for path in row_files(folder) for _, row in logged_rows(path)]


def size_of(folder):
    return sum(path.stat().st_size for path in row_files(folder))


def test_a_new_day_is_a_new_file(tmp_path):
    clock = Clock()
    folder = LogFolder(tmp_path, by(), 1_000_000, 30, clock)
    folder.append(ROW)
    folder.append(ROW)
    clock.now += timedelta(seconds=5)
    folder.append(ROW)
    assert [path.name[:15] for path in row_files(tmp_path)] == ["20260504T235958", "20260505T000003"]
    assert len(rows(tmp_path)) == 3


def test_the_bound_holds_and_the_oldest_are_dropped(tmp_path):
    clock = Clock()
    folder = LogFolder(tmp_path, by(), 80_000, 30, clock)
    for number in range(2_000):
        clock.now += timedelta(seconds=1)
        folder.append(json.dumps({"text": f"{number:>80}"}).encode() + b"\n")
        assert size_of(tmp_path) <= 80_000
    kept = [int(row["text"]) for row in rows(tmp_path)]
    assert kept == list(range(kept[0], 2_000)) and 400 < len(kept) < 900
    assert max(path.stat().st_size for path in row_files(tmp_path)) <= 10_000


def test_no_row_grows_older_than_the_days_even_if_nobody_asks(tmp_path):
    clock = Clock()
    folder = LogFolder(tmp_path, by(), 1_000_000, 2, clock)
    folder.append(ROW)
    clock.now += timedelta(days=1)
    folder.append(ROW)
    clock.now += timedelta(days=1, seconds=1)
    folder.prune()
    assert [begun_of(path) for path in row_files(tmp_path)] == [START + timedelta(days=1)]


def test_a_clock_that_was_wrong_leaves_what_is_dropped_first(tmp_path):
    clock = Clock()
    folder = LogFolder(tmp_path, by(), 80_000, 30, clock)
    clock.now += timedelta(days=3650)
    folder.append(9 * ROW)
    clock.now = START
    for _ in range(800):
        clock.now += timedelta(seconds=1)
        folder.append(ROW)
    assert max(begun_of(path) for path in row_files(tmp_path)) < START + timedelta(days=1)
    assert len(rows(tmp_path)) > 400


def test_two_writers_share_the_bound_and_no_file(tmp_path):
    clock = Clock()
    folders = [LogFolder(tmp_path, by(name * 4), 80_000, 30, clock) for name in ("aa", "bb")]
    for _ in range(1_000):
        clock.now += timedelta(seconds=1)
        for folder in folders:
            folder.append(ROW)
    assert size_of(tmp_path) <= 80_000
    assert {path.name[17:25] for path in row_files(tmp_path)} == {"a" * 8, "b" * 8}
    assert {one.writer for one in logged_by(tmp_path)} == {"a" * 8, "b" * 8}


def _write(folder, writer):
    log = LogFolder(folder, by(writer), 10_000_000, 30)
    for number in range(200):
        log.append(json.dumps({"text": f"{writer} {number}"}).encode() + b"\n")


def test_processes_at_once_write_whole_lines(tmp_path):
    context = get_context("spawn")
    names = ["aaaaaaaa", "bbbbbbbb"]
    processes = [context.Process(target=_write, args=(tmp_path, name)) for name in names]
    [process.start() for process in processes]
    [process.join(240) for process in processes]
    assert sorted(row["text"] for row in rows(tmp_path)) == sorted(
        f"{n} {number}" for n in names for number in range(200)
    )


def test_a_file_that_somebody_removed_is_begun_again(tmp_path):
    folder = LogFolder(tmp_path / "log", by(), 1_000_000, 30)
    folder.append(ROW)
    for path in (tmp_path / "log").iterdir():
        path.unlink()
    (tmp_path / "log").rmdir()
    folder.append(ROW)
    assert len(rows(tmp_path / "log")) == 1 and logged_by(tmp_path / "log") == [by()]


class Full:
    """A file of a disk that has room for half of what comes."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def seek(self, *to):
        return self.file.seek(*to)

    def truncate(self, size):
        return self.file.truncate(size)

    def write(self, data):
        if len(data) < len(ROW):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data[: len(data) // 2])


@pytest.fixture
def full_disk(monkeypatch):
    """Files that are opened within its block are on a full disk."""

    @contextmanager
    def full():
        with monkeypatch.context() as patched:
            patched.setattr(log_folder, "open", lambda *a, **k: Full(open(*a, **k)), raising=False)
            yield

    return full


def test_a_disk_that_fills_up_within_a_row_leaves_whole_rows(tmp_path, full_disk):
    folder = LogFolder(tmp_path, by(), 1_000_000, 30, Clock())
    folder.append(ROW)
    with full_disk(), pytest.raises(OSError):
        folder.append(ROW)
    folder.append(ROW)
    assert rows(tmp_path) == [json.loads(ROW)] * 2


def test_a_disk_that_is_full_at_the_first_row_leaves_no_half_note(tmp_path, full_disk):
    folder = LogFolder(tmp_path, by(), 1_000_000, 30, Clock())
    with full_disk(), pytest.raises(OSError):
        folder.append(ROW)
    assert not list(tmp_path.iterdir())
    LogFolder(tmp_path, by("22" * 4), 1_000_000, 30).check()  # another server starts
    folder.append(ROW)
    assert logged_by(tmp_path) == [by()] and rows(tmp_path) == [json.loads(ROW)]
    if os.name == "posix":
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_line_that_is_not_whole_is_none_and_the_rest_is_read(tmp_path):
    path = tmp_path / "20260504T101500Z-0011aabb.jsonl"
    path.write_bytes(ROW + b'{"text": "caf\xc3\n' + b"\0\0\0\n" + ROW + b'{"text": "torn')
    found = list(logged_rows(path))
    assert [row is not None for _, row in found] == [True, False, False, True, False]


def test_what_tells_of_a_writer_goes_with_its_last_rows(tmp_path):
    clock = Clock()
    LogFolder(tmp_path, by("aa" * 4), 80_000, 30, clock).append(ROW)
    clock.now += timedelta(days=31)
    (tmp_path / about_name("aa" * 4)).touch()
    os.utime(tmp_path / about_name("aa" * 4), (0, 0))
    folder = LogFolder(tmp_path, by(), 80_000, 30, clock)
    folder.append(ROW)
    folder.prune()
    assert [one.writer for one in logged_by(tmp_path)] == ["0011aabb"]


def test_a_damaged_note_is_named(tmp_path):
    (tmp_path / about_name("aa" * 4)).write_text("{")
    with pytest.raises(DataError, match="does not tell which server"):
        logged_by(tmp_path)
