"""Moments of two processes against those of one, each on one thread: at least 1.7 times the rate on two cores.

The processes are timed by their CPU, so that whatever else the machine does leaves the ratio as it is: each of two has
to spend at most 1/1.7 of what one spends.
"""

import time

import numpy as np
import pytest
import torch
import torch.distributed as dist

from alignkit.heads.ridge import ridge_moments
from alignkit.pairs.base import Pairs
from alignkit.training.team import ALONE, Team

ROWS, STUDENT_DIM, TEACHER_DIM = 60_000, 256, 768


def _pairs():
    generator = np.random.default_rng(0)
    student, teacher = (generator.normal(size=(ROWS, width)).astype(np.float32) for width in (STUDENT_DIM, TEACHER_DIM))
    return Pairs([""] * ROWS, student, teacher)


def _seconds(team, pairs):
    """CPU and wall clock of one pass, the best of three."""
    found = []
    for _ in range(3):
        cpu, wall = time.process_time(), time.perf_counter()
        team.led([pairs], torch.device("cpu"), ridge_moments)
        found.append((time.process_time() - cpu, time.perf_counter() - wall))
    return tuple(min(column) for column in zip(*found, strict=True))


def _rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    pairs, team = _pairs(), Team(rank, 2, dist.group.WORLD)
    torch.save(_seconds(team, pairs), f"{folder}/{rank}.pt")


@pytest.mark.skipif(not dist.is_available(), reason="torch without torch.distributed")
def test_two_ranks_sum_up_nearly_twice_as_fast(tmp_path):
    torch.set_num_threads(1)
    pairs = _pairs()
    cpu, wall = _seconds(ALONE, pairs)
    torch.multiprocessing.spawn(_rank, args=(str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    by_cpu, by_clock = (max(rank[place] for rank in ranks) for place in (0, 1))
    print(f"one: {ROWS / cpu:,.0f} pairs a CPU second, {ROWS / wall:,.0f} by the clock; two: {cpu / by_cpu:.2f} times "
          f"as many by CPU, {wall / by_clock:.2f} by the clock")  # fmt: skip
    assert cpu / by_cpu >= 1.7
