"""Ten million rows: what commands and the cache keep in memory. Run: python -m pytest tests/bench/test_size.py -n0 -s

Narrow vectors, since what grows with the rows is counted a row, whatever their width. Takes 2 GB of disk and some ten
minutes of a core. The tests of each part hold what a row may cost at small sizes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from alignkit.cache import VectorCache
from alignkit.cache.cache_folder import SHARDS, prepare
from alignkit.cache.headers import ShardHeader
from alignkit.cache.index_file import FILE_NAME
from alignkit.cache.keys import KEY, identity_digest, text_keys
from alignkit.cache.shard_writer import ShardWriter

ROOT = Path(__file__).parents[2]
FEW, MANY = 1_000_000, 10_000_000
STUDENT_DIM, TEACHER_DIM = 16, 32
BLOCK = 100_000
MODEL = {"model": "given"}
# of ten million rows beside one million
MOST_MORE_BYTES_A_ROW, MOST_BYTES = 60, 1.5e9
MOST_OPEN_S, FEWEST_LOOKED_UP = 0.5, 50_000


def anonymous(process: int) -> int:
    """Bytes that are a process's own: pages of a mapped file are not."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon")), 0)


def peak(folder: Path, *words: str, codes: tuple[int, ...] = (0,)) -> int:
    """Of a command, in its own process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *words, f"hydra.run.dir={folder}"]
    log, most = folder.with_suffix(".log"), 0
    with log.open("w", encoding="utf-8") as file:
        run = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        while run.poll() is None:
            most = max(most, anonymous(run.pid))
            time.sleep(0.02)
    assert run.returncode in codes, log.read_text(encoding="utf-8")
    return most


def written(folder: Path, rows: int) -> list[str]:
    """Files of pairs, of which a few are equal, as settings of `data=vectors`."""
    generator = np.random.default_rng(0)
    mapping = generator.standard_normal((STUDENT_DIM, TEACHER_DIM), dtype=np.float32)
    paths = [folder / f"{side}-{rows}.npy" for side in ("student", "teacher")]
    files = [
        np.lib.format.open_memmap(path, "w+", np.float16, (rows, width))
        for path, width in zip(paths, (STUDENT_DIM, TEACHER_DIM), strict=True)
    ]
    for start in range(0, rows, BLOCK):
        student = generator.standard_normal((BLOCK, STUDENT_DIM), dtype=np.float32)
        files[0][start : start + BLOCK] = student
        files[1][start : start + BLOCK] = student @ mapping + 0.3 * generator.standard_normal((BLOCK, TEACHER_DIM))
    for file in files:
        file[-100:] = file[:100]
        file.flush()
    return ["data=vectors", f"data.student={paths[0]}", f"data.teacher={paths[1]}", "html=false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not Path("/proc/self/status").is_file():
        pytest.skip("reads /proc")
    return tmp_path_factory.mktemp("size")


def test_train_and_evaluate(folder):
    peaks = {}
    for rows in (FEW, MANY):
        data = written(folder, rows)
        run = folder / f"run-{rows}"
        trained = peak(run, "alignkit.train", *data, "model=linear", "trainer.max_epochs=0")
        evaluated = peak(folder / f"evaluated-{rows}", "alignkit.evaluate", f"head={run}", *data, "tensorboard=false")
        # 1: no model answers here, which is not what is looked at
        checked = peak(folder / f"checked-{rows}", "alignkit.check", f"index={data[2].partition('=')[2]}", codes=(0, 1))
        peaks[rows] = {"train": trained, "evaluate": evaluated, "check": checked}
    print()
    for command, most in peaks[MANY].items():
        print(f"{command}: {peaks[FEW][command] / 1e6:,.0f} MB with a million rows, {most / 1e6:,.0f} with ten million")
        assert most < MOST_BYTES
        assert most - peaks[FEW][command] < MOST_MORE_BYTES_A_ROW * (MANY - FEW)


def test_the_cache(folder):
    shards, known = 20, 1_000
    prepare(folder / "cache", True, False)
    generator = np.random.default_rng(0)
    for shard in range(shards):
        writer = ShardWriter(folder / "cache" / SHARDS, ShardHeader(MODEL, 8, "float16"))
        for start in range(0, MANY // shards, BLOCK):
            keys = np.empty(BLOCK, KEY)
            for name in ("high", "low"):
                keys[name] = generator.integers(-(2**63), 2**63 - 1, BLOCK)
            if not start:
                texts = [f"text {shard} {row}" for row in range(known)]
                keys[:known] = text_keys(identity_digest(MODEL), texts)
            writer.append(keys, np.ones((BLOCK, 8), np.float16))
        writer.close()
    rebuilt, _ = seconds(lambda: VectorCache(folder / "cache").close())
    opened, cache = seconds(lambda: VectorCache(folder / "cache"))
    texts = [f"text {shard} {row}" for shard in range(shards) for row in range(known)]
    gathered, _ = seconds(lambda: cache.gather(MODEL, texts[:4096]))
    missing = [f"no text {row}" for row in range(10 * known)]
    looked_up, found = seconds(lambda: cache.missing(MODEL, texts + missing))
    cache.close()
    looked_at, before = seconds(lambda: VectorCache(folder / "cache", only_read=True)), anonymous(os.getpid())
    assert np.array_equal(found, np.arange(len(texts), len(texts) + len(missing)))
    size = (folder / "cache" / FILE_NAME).stat().st_size
    print(
        f"\n{MANY:,} keys: {size / MANY:.1f} bytes of index a key, rebuilt in {rebuilt:.0f} s, opened in "
        f"{opened * 1e3:.0f} ms, copied aside in {looked_at[0]:.1f} s; 4,096 vectors in {gathered * 1e3:.0f} ms, "
        f"{len(texts + missing) / looked_up:,.0f} texts looked up a second; {before / 1e6:,.0f} MB"
    )
    looked_at[1].close()
    assert size < 30 * MANY
    assert opened < MOST_OPEN_S
    assert len(texts + missing) / looked_up > FEWEST_LOOKED_UP


def seconds(work):
    """Of processor time, and the result."""
    started = time.process_time()
    result = work()
    return time.process_time() - started, result
