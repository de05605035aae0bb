"""The same parts by two processes and by two workers of Ray, start-up left out: rows a second, and the ratio."""

import time

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.heads.linear import LinearHead
from alignkit.migration import array_parts
from alignkit.migration.moving import migrate
from alignkit.workers.local import LocalEngine
from alignkit.workers.ray import RayEngine, ray_module

ROWS, STUDENT_DIM, TEACHER_DIM, PART = 400_000, 384, 1024, 8_192
WORKERS, ROUNDS = 2, 3


@pytest.fixture
def old(tmp_path, monkeypatch):
    monkeypatch.setattr(array_parts, "FEWEST_ROWS", PART)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else a busy machine gives Ray's workers what others leave
    block = np.random.default_rng(0).standard_normal((PART, STUDENT_DIM)).astype(np.float16)
    made = np.lib.format.open_memmap(tmp_path / "old.npy", "w+", np.float16, (ROWS, STUDENT_DIM))
    for start in range(0, ROWS, PART):
        made[start : start + PART] = block[: ROWS - start]
    del made
    torch.manual_seed(0)
    return tmp_path / "old.npy", Artifact({"query_head": LinearHead(STUDENT_DIM, TEACHER_DIM).eval()})


def rate(engine, old, out):
    """Rows a second from the moment that every worker has done a part."""
    seen = []
    migrate(*old, out, engine=engine, progress=lambda done, rows: seen.append((time.perf_counter(), done)))
    out.unlink()
    seen = [(when, done) for when, done in seen if done >= 2 * WORKERS * PART]
    return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


def test_ray_is_nearly_as_fast_as_a_pool(old, tmp_path):
    ray_module()
    rates = {"pool": [], "ray": []}
    for _ in range(ROUNDS):  # in turn, for others may use the machine
        for name, engine in (("pool", LocalEngine(WORKERS)), ("ray", RayEngine(workers=WORKERS))):
            rates[name].append(rate(engine, old, tmp_path / "new.npy"))
            print(f"{name}: {rates[name][-1]:,.0f} rows/s")
    ratio = max(rates["ray"]) / max(rates["pool"])
    print(f"Ray does {ratio:.2f} of what the pool does")
    assert ratio > 0.8
