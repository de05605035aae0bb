"""Choosing as on a machine of a known speed: to measure it takes longer than to try the small heads of these tests."""

import pytest

from alignkit.selection import choose


@pytest.fixture(autouse=True)
def the_speed_is_known(monkeypatch):
    monkeypatch.setattr(choose, "_flops_per_s", lambda device: 1e11)
