from __future__ import annotations

import sqlite3
import sys
import threading

import numpy as np
import pytest

from alignkit.cache import index, index_file
from alignkit.cache.index import Index
from alignkit.cache.index_file import FILE_NAME
from alignkit.cache.keys import KEY

BATCH, COMMITS = 32, 200
LOG_BYTES = 128 * 1024


@pytest.fixture(autouse=True)
def small_log(monkeypatch):
    monkeypatch.setattr(index_file, "LOG_BYTES", LOG_BYTES)
    monkeypatch.setattr(index, "MOST_LOG_BYTES", 4 * LOG_BYTES)
    monkeypatch.setattr(index, "READER_WAIT_S", 0.2)


def random_keys(count, seed=0):
    keys = np.zeros(count, KEY)
    keys["high"] = np.random.default_rng(seed).integers(-(2**63), 2**63 - 1, count)
    return keys


def small_commits(opened, folder):
    """Commit as a slow embedder does; returns the longest log that was seen, and the keys."""
    shard, keys, longest = opened.register("shard", "{}"), random_keys(BATCH * COMMITS), 0
    for start in range(0, len(keys), BATCH):
        opened.add(shard, keys[start : start + BATCH], np.arange(start, start + BATCH), start + BATCH)
        longest = max(longest, (folder / f"{FILE_NAME}-wal").stat().st_size)
    return longest, keys


def test_small_commits_leave_a_short_log(tmp_path):
    opened = Index(tmp_path)
    longest, keys = small_commits(opened, tmp_path)
    assert longest < 2 * LOG_BYTES
    positions, _ = opened.find(keys)
    assert len(set(positions.tolist())) == len(keys)
    opened.close()
    assert not (tmp_path / f"{FILE_NAME}-wal").exists()


def test_readers_that_never_pause_do_not_let_it_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "READER_WAIT_S", 300)
    opened, done, interval = Index(tmp_path), threading.Event(), sys.getswitchinterval()
    # few at a time, and threads that wait no 5 ms for each other: each row takes the lock of Python anew
    sys.setswitchinterval(1e-4)
    wanted, all_open = random_keys(50), threading.Barrier(4)

    def read():
        reader = Index(tmp_path)
        all_open.wait()  # opening is a commit, which may empty the log itself and so keep the writer from it
        while not done.is_set():
            reader.find(wanted)
        reader.close()

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        all_open.wait()
        longest, keys = small_commits(opened, tmp_path)
    finally:
        sys.setswitchinterval(interval)
        done.set()
        for thread in threads:
            thread.join()
    assert longest < 5 * LOG_BYTES
    assert len(opened.find(keys)[0]) == len(keys)
    opened.close()


def test_a_reader_that_hangs_stops_nobody(tmp_path):
    opened = Index(tmp_path)
    opened.add(opened.register("first", "{}"), random_keys(10, seed=1), np.arange(10), 10)
    hanging = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    hanging.execute("BEGIN")
    hanging.execute("SELECT count(*) FROM places").fetchall()
    waits = []
    opened._db.set_trace_callback(lambda statement: waits.append(statement) if "wal_checkpoint" in statement else None)
    longest, _ = small_commits(opened, tmp_path)
    assert longest > 5 * LOG_BYTES  # there is no helping it while that reader reads
    assert 1 <= len(waits) <= 8  # of 200 commits
    opened._db.set_trace_callback(None)
    hanging.execute("ROLLBACK")
    hanging.close()
    shard = opened.register("last", "{}")
    for start in range(0, BATCH * 300, BATCH):
        opened.add(shard, random_keys(BATCH, seed=start + 2), np.arange(start, start + BATCH), start + BATCH)
    assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size < 5 * LOG_BYTES
    opened.close()


def test_an_index_with_large_pages_goes_on(tmp_path):
    old = sqlite3.connect(tmp_path / FILE_NAME)
    old.execute("PRAGMA page_size = 4096")
    old.execute("CREATE TABLE unknown (a)")
    old.commit()
    old.close()
    opened = Index(tmp_path)
    longest, keys = small_commits(opened, tmp_path)
    assert longest < 2 * LOG_BYTES
    assert len(opened.find(keys)[0]) == len(keys)
    opened.close()
