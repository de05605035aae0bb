"""The report of a benchmark: `benchmark.json`, `benchmark_report.md` and `report.html`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alignkit.benchmarking.benchmarked import Benchmarked
from alignkit.files import write_whole
from alignkit.language.speaking import TAGS, spoken
from alignkit.reporting import benchmark_words
from alignkit.reporting.report_files import render


def write_benchmark(found: Benchmarked, folder: Path, *, html: bool = True) -> None:
    """Write the three; `benchmark.json` last, so that where it is the others are.

    Raises:
        AlignkitError: if a file cannot be written.
    """
    told = json.dumps(found.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    words = _words(found)
    write_whole(folder / "benchmark_report.md", render("benchmark.md.j2", **words))
    if html:
        write_whole(folder / "report.html", render("benchmark.html.j2", **words))
    write_whole(folder / "benchmark.json", told)


def _words(found: Benchmarked) -> dict[str, Any]:
    return {
        "head": found.head,
        "row_lines": benchmark_words.row_lines(found),
        "headings": benchmark_words.headings(),
        "intervals_line": benchmark_words.intervals_line(found),
        "tasks": [benchmark_words.task_part(task, found) for task in found.tasks],
        "mean": benchmark_words.mean_rows(found),
        "versions": ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        "product": found.product.row.value,
        "language": TAGS[spoken()],
    }
