"""An evaluation on a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from alignkit.evaluation.columns import Column
from alignkit.evaluation.result import Result
from alignkit.language.speaking import say, told
from alignkit.reporting.curve_words import curve_words
from alignkit.reporting.figure_tables import bold, number
from alignkit.reporting.remarks import alarms_of, cosine_words
from alignkit.reporting.student_words import student_words
from alignkit.reporting.verdict_words import verdict_words

SHOWN = (
    Column.COSINE_MEAN, Column.COSINE_CENTERED_MEAN, Column.OVERLAP_10, Column.RECALL_10, Column.MRR_10,
    Column.NDCG_10, Column.HUMAN_SPEARMAN,
)  # fmt: skip


def console_rows(result: Result) -> Table:
    """Rows with the columns that decide, and each row's share of the teacher with its interval."""
    columns = [column for column in SHOWN if any(row[column] is not None for row in result.rows.values())]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(say(column.heading), justify="right", no_wrap=True)
    table.add_column(say("of teacher"), justify="right", no_wrap=True)
    for name, row in result.rows.items():
        share = result.certainty.shares[name]
        kept = f"{share.low:.0%}-{share.high:.0%}" if share else "-"
        cells = [number(row[column]) for column in columns]
        table.add_row(result.label(name), *cells, kept, style=bold(result, name))
    return table


def console_words(result: Result) -> Iterator[str]:
    """The verdict with what decided it, what is alarming, and what could not be checked."""
    words = verdict_words(result.verdict)
    yield f"{words.headline} ({words.name})"
    for reason in words.reasons:
        yield f"  - {reason}"
    for line in cosine_words(result):
        yield f"  - {line}"
    for line in student_words(result):
        yield f"  - {line}"
    if result.curve is not None:
        yield f"  - {curve_words(result)}"
    for alarm in alarms_of(result):
        yield f"  ! {alarm}"
    for doubt in result.about.doubts or ():
        yield f"  ? {told(doubt)}"
