"""The tables of SCALING.md are what its script makes of the rates that were measured."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "tests/bench"


@pytest.fixture(scope="module")
def scaling():
    spec = importlib.util.spec_from_file_location("bench_scaling", BENCH / "scaling.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_tables_of_the_measured_rates(scaling):
    measured = json.loads((BENCH / "rates_measured.json").read_text(encoding="utf-8"))
    page = (ROOT / "SCALING.md").read_text(encoding="utf-8")
    for table in scaling.tables(measured).split("\n\n"):
        assert table.strip() in page


def test_a_billion_rows_take_what_the_slowest_part_takes(scaling):
    work = scaling.Work("moved", ("rows", "more rows"), read=1_000, written=1_000)
    machine = scaling.Machine(cores=10, disk=1e9, network=1e9)
    rates = {"rows": 2_000.0, "more rows": 2_000.0}
    assert work.core_seconds(rates) == 1e6
    assert work.seconds(rates, 1, machine) == (1e5, "cores")
    assert work.seconds(rates, 10, machine) == (1e4, "cores")
    fast = {name: 1e6 for name in rates}
    assert work.seconds(fast, 1, machine) == (2_000, "disk")
    assert work.seconds(fast, 10, machine) == (200, "network")
    alone = scaling.Work("opened", ("rows",), read=1, spread="one core")
    assert alone.seconds(rates, 1, machine) == (5e5, "cores")
