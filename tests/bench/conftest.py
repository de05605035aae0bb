"""Benchmarks use the machine as a user's program does: all its cores, one benchmark at a time."""

import os

import torch

torch.set_num_threads(os.cpu_count() or 1)


def pytest_terminal_summary(terminalreporter):
    """The figures that the benchmarks recorded, a line each."""
    for reports in terminalreporter.stats.values():
        for report in reports:
            if getattr(report, "when", None) == "call" and report.user_properties:
                figures = ", ".join(f"{name} {value:.4g}" for name, value in report.user_properties)
                terminalreporter.write_line(f"{report.nodeid.rpartition('/')[2]}: {figures}")
