"""Memory that training freed goes back to the system."""

from __future__ import annotations

import sys

import pytest

from alignkit.training import returned_memory
from alignkit.training.memory import return_free_memory
from alignkit.training.returned_memory import BATCHES_BETWEEN, ReturnedMemory


def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_what_is_free_between_what_is_in_use_goes_back():
    blocks = [b"x" * 50_000 for _ in range(2000)]
    kept = blocks[::50]  # a heap is never cut short behind these
    del blocks
    before = resident_mb()
    return_free_memory()
    assert resident_mb() < before - 60
    assert len(kept) == 40


def test_it_is_asked_for_now_and_then(monkeypatch):
    asked = []
    monkeypatch.setattr(returned_memory, "return_free_memory", lambda: asked.append(True))
    for number in range(2 * BATCHES_BETWEEN):
        ReturnedMemory().on_train_batch_end(None, None, None, None, number)
    assert len(asked) == 2
