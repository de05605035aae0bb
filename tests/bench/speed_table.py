"""What everything costs, as the README shows it: python tests/bench/speed_table.py [ROW ...]

Runs the benchmarks beside this file that the rows name, all of them in under five minutes on a quiet machine of two
cores, and prints a table of their medians. Ratios are of one run. A ROW is any part of a row's name or of its test's:
`python tests/bench/speed_table.py server "one query"`. Needs the extras `bench` and `local`;
LitServe's row needs `wrk`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pytest import ExitCode
from rates import about

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """A figure that a benchmark records as a property of its test."""

    what: str
    test: str
    figure: str
    form: str
    target: str


ROWS = (
    Row("`--help` or a mistyped setting, the slowest command", "test_commands.py::test_help_and_a_mistyped_setting",
        "slowest_s", "{:.2f} s of CPU", "≤ 0.5"),
    Row("`train` on the demo pack, beside the imports of torch and Lightning",
        "test_commands.py::test_training_on_the_demo_pack_beside_its_imports[demo]", "own_s", "+{:.1f} s of CPU",
        "≤ 3.5"),
    Row("the same with `trainer.max_epochs=0`, beside the import of torch",
        "test_commands.py::test_training_on_the_demo_pack_beside_its_imports[closed_form]", "own_s", "+{:.1f} s of CPU",
        "≤ 4"),
    Row("`evaluate`, all rows, 2,000 × 20,000 × 3,584, beside as many bare products",
        "test_evaluation.py::test_all_rows_cost_at_most_half_more_than_bare_passes", "ratio", "{:.2f}×", "≤ 1.8"),
    Row("server, 64 texts a request, base64, over embedding with `static`",
        "test_serving.py::test_overhead_of_many_texts[base64-static]", "overhead", "{:+.0%}", "≤ 20%"),
    Row("server, likewise as floats",
        "test_serving.py::test_overhead_of_many_texts[float-static]", "overhead", "{:+.0%}", "≤ 40%"),
    Row("server, 32 connections: CPU time a request, LitServe's beside ours",
        "test_serving.py::test_many_times_litserve", "processor_ratio", "{:.1f}×", "≥ 8"),
    Row("one query 896 → 3,584 through a saved linear head, beside NumPy's product",
        "test_heads.py::test_a_query_through_a_saved_head_takes_little_more_than_its_products[linear]", "ratio",
        "{:.2f}×", "≤ 1.2"),
    Row("client and cache, a text of 3,584 floats as JSON",
        "test_embedders.py::test_client_and_cache_cost_little_a_text[json]", "ms", "{:.2f} ms of CPU", "≤ 0.25"),
    Row("likewise as base64",
        "test_embedders.py::test_client_and_cache_cost_little_a_text[base64]", "ms", "{:.2f} ms of CPU", "≤ 0.12"),
    Row("`migrate` 896 → 3,584, file to file, beside NumPy",
        "test_migration.py::test_moving_an_index_takes_little_more_than_numpy", "ratio", "{:.2f}×", "≤ 1.1"),
    Row("`minilm` behind the cache: rate beside sentence-transformers' `encode`",
        "test_embedders.py::test_minilm_against_its_own_encode", "ratio", "{:.2f}×", "≥ 0.95"),
    Row("training at batch 64: time beside a bare loop",
        "test_training.py::test_fit_throughput[64]", "ratio", "{:.2f}×", "≤ 1.25"),
    Row("`random_features`, 4,096 features, 10,000 pairs 384 → 1,024: fit in two passes",
        "test_updates.py::test_new_pairs_cost_their_own_time[random_features 4,096]", "whole_s", "{:.1f} s of CPU",
        "≤ 9"),
)  # fmt: skip


@dataclass
class Figures:
    """What the tests recorded, by test and name; why others recorded nothing."""

    known: dict[tuple[str, str], float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A target that is missed fails a test, but its figure is known."""
        test = report.nodeid.removeprefix("tests/bench/")
        self.known |= {(test, name): float(value) for name, value in report.user_properties}
        if report.skipped and isinstance(report.longrepr, tuple):
            self.missing[test] = report.longrepr[2].removeprefix("Skipped: ")

    def cell(self, row: Row) -> str:
        """The figure, or why there is none."""
        found = self.known.get((row.test, row.figure))
        return row.form.format(found) if found is not None else self.missing.get(row.test, "not measured")


def main(*words: str) -> None:
    """Measure, then print."""
    rows = [row for row in ROWS if not words or any(word in row.what or word in row.test for word in words)]
    if not rows:
        sys.exit(f"no row has {' or '.join(words)} in its name; rows: {'; '.join(row.what for row in ROWS)}")
    figures, tests = Figures(), dict.fromkeys(f"{HERE / row.test}" for row in rows)
    with contextlib.redirect_stdout(sys.stderr):
        # a client's open socket is no figure
        options = ["-n0", "-s", "--tb=line", "-p", "no:unraisableexception", f"--rootdir={HERE.parents[1]}"]
        if pytest.main([*options, *tests], plugins=[figures]) not in (ExitCode.OK, ExitCode.TESTS_FAILED):
            sys.exit("a row names no benchmark; pytest says which")
    machine = about()
    print(f"{machine['chip']}, {os.cpu_count()} cores, torch {machine['torch']}, {machine['date']}\n")
    print("| what | measured | target |\n|---|---:|---:|")
    for row in rows:
        print(f"| {row.what} | {figures.cell(row)} | {row.target} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
