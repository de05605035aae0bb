"""An index moved from file to file beside NumPy doing the same: python -m pytest tests/bench/test_migration.py"""

import os
import statistics
import time

import numpy as np

from alignkit.artifact import Artifact
from alignkit.heads.linear import LinearHead
from alignkit.migration.moving import migrate

ROWS, STUDENT_DIM, TEACHER_DIM, BLOCK = 20_000, 896, 3584, 4096
ROUNDS = 3


def by_numpy(vectors, weight, bias, out):
    """In blocks of rows that end up with length 1, written until they lie on the disk."""
    student = np.load(vectors, mmap_mode="r")
    moved = np.lib.format.open_memmap(out, "w+", np.float16, (len(student), len(weight)))
    for start in range(0, len(student), BLOCK):
        rows = student[start : start + BLOCK].astype(np.float32) @ weight.T + bias
        moved[start : start + BLOCK] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    moved.flush()
    with open(out, "rb") as file:
        os.fsync(file.fileno())


def test_moving_an_index_takes_little_more_than_numpy(tmp_path, record_property):
    vectors, out = tmp_path / "student.npy", tmp_path / "moved.npy"
    np.save(vectors, np.random.default_rng(0).standard_normal((ROWS, STUDENT_DIM), dtype=np.float32).astype(np.float16))
    head = LinearHead(STUDENT_DIM, TEACHER_DIM).eval().requires_grad_(False)
    weight, bias = (part.numpy() for part in (head.projection.weight, head.projection.bias))
    artifact = Artifact({"query_head": head})
    runs = {
        "ours": lambda: migrate(vectors, artifact, out, dtype="float16"),
        "numpy": lambda: by_numpy(vectors, weight, bias, out),
    }
    seconds = {name: [] for name in runs}
    for _ in range(ROUNDS):  # in turns: what else the machine does hits both alike
        for name, run in runs.items():
            out.unlink(missing_ok=True)
            start = time.process_time()
            run()
            seconds[name].append(time.process_time() - start)
    ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["numpy"])
    print(f"\nmigrate, {ROWS:,} rows 896 -> 3584: {ratio:.2f} of NumPy's CPU time")
    record_property("ratio", ratio)
    assert ratio <= 1.1
