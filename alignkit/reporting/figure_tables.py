"""The table of a run, for a terminal, for Markdown and for spreadsheets."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping

from rich.table import Table

from alignkit.evaluation.columns import Column
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import RowName
from alignkit.language.speaking import say
from alignkit.reporting.figures import number

# what fits a terminal of 80 columns
SHOWN = (
    Column.COSINE_MEAN, Column.COSINE_P05, Column.COSINE_P50, Column.COSINE_P95, Column.COSINE_CENTERED_MEAN,
    Column.R2, Column.SPEARMAN, Column.OVERLAP_10,
)  # fmt: skip


def console_table(result: Result, title: str) -> Table:
    """For a terminal of 80 columns."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in SHOWN:
        table.add_column(say(column.heading), justify="right", no_wrap=True)
    for name, row in result.rows.items():
        table.add_row(result.label(name), *(number(row[column]) for column in SHOWN), style=bold(result, name))
    return table


def bold(result: Result, name: RowName) -> str | None:
    """The style of a row: the product stands out."""
    return "bold" if name == result.product.row else None


def markdown_table(result: Result) -> str:
    """As GitHub renders it."""
    lines = [
        f"| {say('row')} | " + " | ".join(say(column.heading) for column in SHOWN) + " |",
        "|---|" + "---:|" * len(SHOWN),
    ]
    for name, row in result.rows.items():
        lines.append(f"| {result.label(name)} | " + " | ".join(number(row[column]) for column in SHOWN) + " |")
    return "\n".join(lines)


def csv_text(result: Result) -> str:
    """One line for each split and row; write it as `utf-8-sig`, so that Excel reads it as UTF-8."""
    splits = {"test": result.rows, **result.other_splits}
    lines: list[tuple[str, str, Mapping[str, float | None]]] = [
        (split, result.label(name), row.to_json()) for split, rows in splits.items() for name, row in rows.items()
    ]
    keys = list(dict.fromkeys(key for _, _, figures in lines for key in figures))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(["split", "row", *keys])
    for split, row, figures in lines:
        writer.writerow([split, row, *("" if (value := figures.get(key)) is None else repr(value) for key in keys)])
    return buffer.getvalue()
