"""An evaluation on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from alignkit.evaluation.columns import Column
from alignkit.evaluation.outcome import Evaluation
from alignkit.reporting.figure_tables import number

KEYS = ("cosine_mean", "cosine_centered_mean", "overlap@10", "recall@10", "mrr@10", "ndcg@10", "human_spearman")


def console_rows(evaluation: Evaluation) -> Table:
    """Rows with the columns that decide, and each row's share of the teacher with its interval."""
    rows, meta = evaluation.rows, evaluation.meta
    keys = [key for key in KEYS if any(row.get(key) is not None for row in rows.values())]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for key in keys:
        table.add_column(Column(key).heading, justify="right", no_wrap=True)
    table.add_column("of teacher", justify="right", no_wrap=True)
    for name, row in rows.items():
        share = meta["shares"].get(name)
        kept = f"{share['low']:.0%}-{share['high']:.0%}" if share else "-"
        cells = [number(row.get(key)) for key in keys]
        table.add_row(name, *cells, kept, style="bold" if name == "aligned" else None)
    return table


def console_words(evaluation: Evaluation) -> Iterator[str]:
    """The verdict with what decided it, what is alarming, and what could not be checked."""
    verdict = evaluation.comparison.verdict
    yield f"{verdict.headline} ({verdict.name})"
    for reason in verdict.reasons:
        yield f"  - {reason}"
    for alarm in evaluation.meta["alarms"]["raised"]:
        yield f"  ! {alarm}"
    for doubt in evaluation.meta.get("doubts", []):
        yield f"  ? {doubt}"
