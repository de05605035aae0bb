"""What the index of the cache costs at a million and at ten million keys, filled as a slow embedder fills it.

Keys only: no vector is written.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import pytest

from alignkit.cache import index_file
from alignkit.cache.index import Index
from alignkit.cache.keys import KEY

BATCH, COMMITS, WANTED = 32, 2000, 4096
BULK = 500_000
LONGEST_LOG_BYTES = 20e6
MOST_BYTES_A_KEY = 30
MOST_COMMIT_MS, MOST_OPEN_MS = 50.0, 200.0


def random_keys(random, count):
    keys = np.zeros(count, KEY)
    keys["high"] = random.integers(-(2**63), 2**63 - 1, count)
    return keys


def written_bytes():
    """By this process, as the system counts them."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("wchar")).split()[1])


@pytest.mark.parametrize("count", [1_000_000, 10_000_000], ids=["a million", "ten million"])
def test_small_commits_to_a_large_index(tmp_path, count):
    if not Path("/proc/self/io").is_file():
        pytest.skip("needs /proc")
    random = np.random.default_rng(0)
    index = Index(tmp_path)
    shard = index.register("shard", "{}")
    started = time.perf_counter()
    for start in range(0, count, BULK):
        known = random_keys(random, BULK)
        index.add(shard, known, np.arange(start, start + BULK), start + BULK)
    built_s = time.perf_counter() - started
    log, longest, times, before = tmp_path / f"{index_file.FILE_NAME}-wal", 0, [], written_bytes()
    for start in range(count, count + COMMITS * BATCH, BATCH):
        keys = random_keys(random, BATCH)
        started = time.perf_counter()
        index.add(shard, keys, np.arange(start, start + BATCH), start + BATCH)
        times.append((time.perf_counter() - started) * 1e3)
        longest = max(longest, log.stat().st_size)
    written = (written_bytes() - before) / (COMMITS * BATCH)
    found = []
    for _ in range(5):
        wanted = known[random.choice(BULK, WANTED, replace=False)]
        started = time.perf_counter()
        positions, _ = index.find(wanted)
        found.append((time.perf_counter() - started) * 1e3)
        assert len(positions) == WANTED
    index.close()
    size = (tmp_path / index_file.FILE_NAME).stat().st_size
    started = time.perf_counter()
    again = Index(tmp_path)
    again.shards()
    open_ms = (time.perf_counter() - started) * 1e3
    started = time.perf_counter()
    assert sum(again.live_rows().values()) == count + COMMITS * BATCH
    counted_s = time.perf_counter() - started
    again.close()
    print(
        f"\n{count:,} keys: {size / 1e6:.0f} MB ({size / count:.0f} bytes a key), opened in {open_ms:.1f} ms, "
        f"counted in {counted_s:.1f} s, rebuilt in {built_s:.0f} s\n"
        f"  commits of {BATCH}: {statistics.mean(times):.2f} ms "
        f"(median {statistics.median(times):.2f}, longest {max(times):.0f}), {written:,.0f} bytes written a key, "
        f"log at most {longest / 1e6:.1f} MB\n  {WANTED:,} keys found in {statistics.median(found):.1f} ms"
    )
    assert longest < LONGEST_LOG_BYTES
    assert size < count * MOST_BYTES_A_KEY
    assert statistics.mean(times) < MOST_COMMIT_MS
    assert open_ms < MOST_OPEN_MS
