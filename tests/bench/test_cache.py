"""What the vector cache costs: time a text, memory for a million, opening and gathering.

The million is filled by a process of its own, so that its peak memory is the cache's and its texts' alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alignkit.cache import VectorCache
from alignkit.embedders.base import EmbeddedBatch

ROOT = Path(__file__).parents[2]
MILLION = 1_000_000
MOST_RESIDENT_BYTES = 1.5e9
MOST_OPEN_S = 1.0
MOST_GATHER_MS = 60.0
GATHERED = 4096

FILL = """
import json, resource, sys, time
from test_cache import GivenEmbedder, million_texts
from alignkit.cache import VectorCache
from alignkit.embedders.static import StaticEmbedder

embedder = StaticEmbedder() if sys.argv[2] == "static" else GivenEmbedder(256)
texts = million_texts()
def clock():
    return time.perf_counter(), time.process_time()
with VectorCache(sys.argv[1]) as cache:
    started = clock()
    report = cache.fill(embedder, texts)
    filled = clock()
    cache.fill(embedder, texts)
    again = clock()
    identity = embedder.identity()
    for start in range(0, len(texts), 16_384):
        cache.gather(identity, texts[start : start + 16_384])
    gathered = clock()
scale = 1 if sys.platform == "darwin" else 1024
print(json.dumps({
    "new": report.new,
    "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale,
    "fill_s": [b - a for a, b in zip(started, filled)],
    "fill_again_s": [b - a for a, b in zip(filled, again)],
    "gather_all_s": [b - a for a, b in zip(again, gathered)],
}))
"""


class GivenEmbedder:
    """Vectors that are there already: what is left is the cache's own time."""

    def __init__(self, dim, batch_size=2048):
        self.dim = dim
        self._vectors = np.random.default_rng(0).standard_normal((batch_size, dim)).astype(np.float32)

    def settings(self, role="document"):
        return {"model": f"given-{self.dim}"}

    def identity(self, role="document"):
        return self.settings(role)

    def provenance(self):
        return {}

    def embed(self, texts, role="document"):
        size = len(self._vectors)
        for start in range(0, len(texts), size):
            stop = min(start + size, len(texts))
            yield EmbeddedBatch(np.arange(start, stop), self._vectors[: stop - start])

    def close(self):
        pass


def million_texts():
    return [f"please book a table for {number} people tonight" for number in range(MILLION)]


@pytest.fixture(scope="module")
def million(tmp_path_factory):
    pytest.importorskip("resource")
    pytest.importorskip("wordllama")
    folder = tmp_path_factory.mktemp("million")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    run = subprocess.run(
        [sys.executable, "-c", FILL, str(folder), "static"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    return folder, json.loads(run.stdout)


def test_a_million_sentences_stay_in_memory(million):
    _, figures = million
    assert figures["new"] == MILLION
    for name in ("fill_s", "fill_again_s", "gather_all_s"):
        wall, processor = (seconds / MILLION * 1e6 for seconds in figures[name])
        print(f"{name}: {wall:.1f} us a text by the clock, {processor:.1f} us of processor time")
    print(f"peak: {figures['peak_bytes'] / 1e6:,.0f} MB")
    assert figures["peak_bytes"] < MOST_RESIDENT_BYTES


def test_a_million_rows_open_at_once(million):
    folder, _ = million
    times = []
    for _ in range(5):
        started = time.perf_counter()
        VectorCache(folder).close()
        times.append(time.perf_counter() - started)
    print(f"open: {statistics.median(times) * 1e3:.0f} ms, the first {times[0] * 1e3:.0f} ms")
    assert max(times) < MOST_OPEN_S


def test_a_gather_of_4096_random_rows_of_a_million(million):
    from alignkit.embedders.static import StaticEmbedder

    folder, _ = million
    texts, identity = million_texts(), StaticEmbedder().identity()
    with VectorCache(folder) as cache:
        times = gather_times_ms(cache, identity, texts)
    print(f"gather of {GATHERED} of a million 256-d rows: {statistics.median(times):.0f} ms ({np.round(times)})")
    assert statistics.median(times) < MOST_GATHER_MS


def gather_times_ms(cache, identity, texts):
    random = np.random.default_rng(0)
    times = []
    for attempt in range(9):
        wanted = [texts[row] for row in random.choice(len(texts), GATHERED, replace=False)]
        started = time.perf_counter()
        cache.gather(identity, wanted)
        if attempt > 1:
            times.append((time.perf_counter() - started) * 1e3)
    return times


@pytest.mark.parametrize(("dim", "count"), [(256, 200_000), (3584, 30_000)])
def test_what_the_cache_itself_takes_a_text(tmp_path, dim, count):
    texts = [f"please book a table for {number} people tonight" for number in range(count)]
    embedder = GivenEmbedder(dim, batch_size=64 if dim == 3584 else 2048)
    costs = []
    for attempt in range(3):
        with VectorCache(tmp_path / str(attempt)) as cache:
            started = time.process_time()
            cache.fill(embedder, texts)
            costs.append((time.process_time() - started) / count * 1e6)
            times = gather_times_ms(cache, embedder.identity(), texts)
    print(
        f"{dim}-d: {statistics.median(costs):.1f} us of processor time a text; gather {statistics.median(times):.0f} ms"
    )
    assert statistics.median(costs) < (15 if dim == 256 else 80)
