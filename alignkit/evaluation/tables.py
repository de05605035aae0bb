"""The table of a run, as people read it (terminal, Markdown) and as programs do (CSV, JSON)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from alignkit.metrics.alignment import Row

# key in metrics.json → heading that fits a terminal of 80 columns
COLUMNS = {
    "cosine_mean": "cos",
    "cosine_p05": "P5",
    "cosine_p50": "P50",
    "cosine_p95": "P95",
    "cosine_centered_mean": "centred",
    "r2": "R2",
    "spearman": "Spearman",
    "overlap@10": "overlap@10",
}
COLUMN_MEANINGS = {
    "cosine_mean": "mean cosine of each vector with its teacher vector",
    "cosine_p05": "5th percentile of those cosines: how bad the bad ones are",
    "cosine_p50": "their median",
    "cosine_p95": "95th percentile: how good the good ones are",
    "cosine_centered_mean": "the same after the training teacher mean is taken off both sides; the mean row falls to 0",
    "r2": "1 - residual / variance over all dimensions; 1 is perfect, 0 is as good as the mean",
    "spearman": "rank correlation of sentence-pair similarities, teacher's against these vectors'",
    "overlap@10": "share of the teacher's own ten nearest sentences that these vectors find",
}


def console_table(rows: Mapping[str, Row], title: str) -> Table:
    """For a terminal of 80 columns."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for heading in COLUMNS.values():
        table.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        style = "bold" if name == "aligned" else None
        table.add_row(name, *(number(row.get(key)) for key in COLUMNS), style=style)
    return table


def markdown_table(rows: Mapping[str, Row]) -> str:
    """As GitHub renders it."""
    lines = ["| row | " + " | ".join(COLUMNS.values()) + " |", "|---|" + "---:|" * len(COLUMNS)]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(number(row.get(key)) for key in COLUMNS) + " |")
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
