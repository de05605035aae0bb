"""The table of codes: bytes of the teacher's index against what is still found in it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from alignkit.codes.search import RESCORED
from alignkit.evaluation.code_table import ASKING
from alignkit.evaluation.result import Result
from alignkit.reporting.figure_tables import number

MEANING = (
    "The teacher's corpus as an index may store it, searched by the teacher's own queries and by aligned ones. Bytes a "
    "text are also megabytes for a million texts. overlap@10 is with the teacher's neighbours in float32 with all "
    f"dimensions. Rescored: the first {10 * RESCORED} hits are ordered once more by float queries against the stored "
    "codes, or against int8 codes that stay on disk."
)


def code_headings(result: Result) -> list[str]:
    """Of the columns; nDCG only where something is judged."""
    measures = ["overlap@10", *(["nDCG@10"] if all(row.is_judged for row in result.codes) else [])]
    return ["index", "bytes a text", *(f"{name} {measure}" for name in ASKING for measure in measures)]


def code_cells(result: Result) -> Iterator[list[str]]:
    """One list for each row, as wide as the headings."""
    judged = all(row.is_judged for row in result.codes)
    for row in result.codes:
        figures = [(row.overlap[name], row.ndcg[name]) for name in ASKING]
        shown = [number(figure) for overlap, ndcg in figures for figure in ((overlap, ndcg) if judged else (overlap,))]
        yield [row.name, f"{row.bytes_a_text:,}", *shown]


def console_codes(result: Result) -> Table:
    """For a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for place, heading in enumerate(code_headings(result)):
        above, _, below = heading.replace("bytes a", "bytes_a").replace("@10", "").partition(" ")
        heading = f"{above.replace('_', ' ')}\n{below}" if below else heading
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for cells in code_cells(result):
        table.add_row(*cells)
    return table
