"""What everything costs, as the README shows it: python tests/bench/speed_table.py [ROW ...]

Runs the benchmarks beside this file that the rows name, all of them in under five minutes on a quiet machine of two
cores, prints a table of their medians beside the targets, and writes it into README.md, between the two marks there,
once every row has its figure. Ratios are of one run. A ROW is any part of a row's name or of its test's, and measures
these alone, for the terminal: `python tests/bench/speed_table.py server "one query"`. Needs the extra `bench`;
LitServe's row needs `wrk`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

HERE = Path(__file__).parent
README = HERE.parents[1] / "README.md"
MARKS = ("<!-- speed: python tests/bench/speed_table.py -->", "<!-- /speed -->")
# what the benchmarks import or run, by the module and by the name that pip knows
NEEDED = {
    "pytest": "pytest", "xdist": "pytest-xdist", "pytest_timeout": "pytest-timeout", "psutil": "psutil",
    "litserve": "litserve", "uvicorn": "uvicorn", "wordllama": "wordllama",
    "sentence_transformers": "sentence-transformers",
}  # fmt: skip


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
        "test_evaluation.py::test_all_rows_beside_bare_passes", "ratio", "{:.2f}×", "≤ 1.8"),
    Row("server, 64 texts a request, base64: CPU time over embedding with `static`",
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
    Row("`embed` with `minilm` beside as many busy processes as cores: CPU time beside one thread's",
        "test_embedders.py::test_busy_neighbours_do_not_multiply_what_minilm_takes", "ratio", "{:.2f}×", "≤ 1.3"),
    Row("training at batch 64: time beside a bare loop",
        "test_training.py::test_fit_throughput[64]", "ratio", "{:.2f}×", "≤ 1.25"),
    Row("`random_features`, 4,096 features, 10,000 pairs 384 → 1,024: fit in two passes",
        "test_updates.py::test_new_pairs_cost_their_own_time[random_features 4,096]", "whole_s", "{:.1f} s of CPU",
        "≤ 9"),
)  # fmt: skip


@dataclass(eq=False)  # pytest keeps its plugins in sets
class Figures:
    """What the tests of some rows recorded, by test and name; why others recorded nothing, by file or test."""

    rows: Sequence[Row]
    known: dict[tuple[str, str], float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Of a file the tests that a row names."""
        tests = {row.test for row in self.rows}
        items[:] = [item for item in items if _test(item.nodeid) in tests]
        # until they report something else
        self.missing |= {_test(item.nodeid): "interrupted" for item in items}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that cannot be imported has no tests to report of."""
        self._note(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A target that is missed fails a test, but its figure is known."""
        self.known |= {(_test(report.nodeid), name): float(value) for name, value in report.user_properties}
        self._note(report)
        if report.passed and report.when == "call":
            self.missing[_test(report.nodeid)] = "the benchmark passed, but did not record this"

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.skipped and isinstance(report.longrepr, tuple):
            self.missing[_test(report.nodeid)] = report.longrepr[2].removeprefix("Skipped: ")
        elif report.failed:
            lines = report.longreprtext.splitlines()
            reason = next((line[1:] for line in lines if line.startswith("E ")), lines[-1] if lines else "")
            self.missing[_test(report.nodeid)] = f"failed: {reason.strip()}".replace("|", "/")

    def find(self, row: Row) -> float | None:
        """The figure, if there is one."""
        return self.known.get((row.test, row.figure))

    def cell(self, row: Row) -> str:
        """The figure, or why there is none."""
        if (found := self.find(row)) is not None:
            return row.form.format(found)
        places = (row.test, row.test.partition("::")[0])
        return next((self.missing[place] for place in places if place in self.missing), "no such benchmark")


def _test(node: str) -> str:
    return node.removeprefix("tests/bench/")


def lacking() -> str | None:
    """What is not installed, in one line with the way to install it."""
    absent = [package for module, package in NEEDED.items() if find_spec(module) is None]
    return f'not installed: {", ".join(absent)}; install with: pip install -e ".[bench]"' if absent else None


def measure(rows: Sequence[Row]) -> Figures:
    """Run the benchmarks of these rows; what pytest says goes to stderr."""
    import pytest

    figures, files = Figures(rows), dict.fromkeys(str(HERE / row.test.partition("::")[0]) for row in rows)
    with contextlib.redirect_stdout(sys.stderr):
        # --tb=short has the line of the error; a client's open socket is no figure
        options = ["-n0", "-s", "--tb=short", "-p", "no:unraisableexception", f"--rootdir={HERE.parents[1]}"]
        pytest.main([*options, "--continue-on-collection-errors", *files], plugins=[figures])
    return figures


def table(rows: Sequence[Row], figures: Figures, machine: Mapping[str, str]) -> str:
    """As the README has it: where and when, then a line a row."""
    lines = [f"{machine['chip']}, {os.cpu_count()} cores, torch {machine['torch']}, {machine['date']}:", ""]
    lines += ["| what | measured | target |", "|---|---:|---:|"]
    lines += [f"| {row.what} | {figures.cell(row)} | {row.target} |" for row in rows]
    return "\n".join(lines)


def between_marks(page: str, text: str) -> str:
    """A page with another text between its two marks."""
    before, start, rest = page.partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not (start and end):
        sys.exit(f"{README.name} has no place for the table; it is between the lines {' and '.join(MARKS)}")
    return f"{before}{start}\n{text}\n{end}{after}"


def main(*words: str) -> None:
    """Measure, print, and write what is complete."""
    rows = [row for row in ROWS if not words or any(word in row.what or word in row.test for word in words)]
    if not rows:
        sys.exit(f"no row has {' or '.join(words)} in its name; rows: {'; '.join(row.what for row in ROWS)}")
    if (reason := lacking()) is not None:
        sys.exit(reason)
    from rates import about

    figures = measure(rows)
    shown = table(rows, figures, about())
    print(shown)
    without = [row for row in rows if figures.find(row) is None]
    if without:
        sys.exit(f"{README.name} is left as it is: {len(without)} of {len(rows)} rows have no figure")
    if not words:
        README.write_text(between_marks(README.read_text(encoding="utf-8"), shown), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
