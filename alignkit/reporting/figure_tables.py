"""The table of a run, as people read it (terminal, Markdown) and as programs do (CSV, JSON)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from alignkit.evaluation.columns import Column
from alignkit.metrics.alignment import Row

# what fits a terminal of 80 columns
SHOWN = (
    Column.COSINE_MEAN, Column.COSINE_P05, Column.COSINE_P50, Column.COSINE_P95, Column.COSINE_CENTERED_MEAN,
    Column.R2, Column.SPEARMAN, Column.OVERLAP_10,
)  # fmt: skip


def console_table(rows: Mapping[str, Row], title: str) -> Table:
    """For a terminal of 80 columns."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for column in SHOWN:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        style = "bold" if name == "aligned" else None
        table.add_row(name, *(number(row.get(key)) for key in SHOWN), style=style)
    return table


def markdown_table(rows: Mapping[str, Row]) -> str:
    """As GitHub renders it."""
    lines = ["| row | " + " | ".join(column.heading for column in SHOWN) + " |", "|---|" + "---:|" * len(SHOWN)]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(number(row.get(key)) for key in SHOWN) + " |")
    return "\n".join(lines)


def csv_text(rows_by_split: Mapping[str, Mapping[str, Row]]) -> str:
    """One line a split and row; write it as `utf-8-sig`, so that Excel reads it as UTF-8."""
    keys = list(dict.fromkeys(key for rows in rows_by_split.values() for row in rows.values() for key in row))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(["split", "row", *keys])
    for split, rows in rows_by_split.items():
        for name, row in rows.items():
            writer.writerow([split, name, *("" if row.get(key) is None else repr(row[key]) for key in keys)])
    return buffer.getvalue()


def json_text(rows: Mapping[str, Row], meta: Mapping[str, Any]) -> str:
    """`metrics.json`; undefined figures are null."""
    return json.dumps({"rows": rows, "meta": meta}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def number(figure: float | None) -> str:
    """Three places behind the point, fewer of large figures, or a dash.

    >>> number(0.12345), number(None), number(-1234.5), number(-33.797)
    ('0.123', '-', '-1234', '-33.8')
    """
    if figure is None:
        return "-"
    return f"{figure:.{0 if abs(figure) >= 100 else 1 if abs(figure) >= 10 else 3}f}"
