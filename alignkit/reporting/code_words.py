"""The table of codes: bytes of the teacher's index against what is still found in it."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from alignkit.codes.search import RESCORED
from alignkit.evaluation.code_table import MEASURES, CodeRow
from alignkit.evaluation.columns import Column
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import RowName
from alignkit.language.speaking import say
from alignkit.metrics.intervals import Interval
from alignkit.reporting.figure_tables import number

# {rescored} is how many hits are ordered again
MEANING = (
    "The teacher's corpus as an index may store it, searched by the teacher's own queries and by aligned ones. Bytes a "
    "text are also megabytes for a million texts. overlap@10 is with the teacher's neighbours in float32 with all "
    "dimensions. Rescored: the first {rescored} hits are ordered once more by float queries against the stored "
    "codes, or against int8 codes that stay on disk. In brackets: 95% intervals of the bootstrap."
)
DIFFERENCES_MEANING = (
    "The same less what the same queries find in float32 with all dimensions, paired by query. Where the interval in "
    "brackets reaches across 0, the loss could be chance."
)


def code_meaning() -> str:
    """What the table shows."""
    return say(MEANING, rescored=10 * RESCORED)


def code_headings(result: Result) -> list[str]:
    """Of the columns; nDCG only where something is judged."""
    named = [f"{name} {say(measure.heading)}" for name, measure in _columns(result)]
    return [say("index"), say("bytes a text"), *named]


def code_cells(result: Result) -> Iterator[list[str]]:
    """One list for each index, as wide as the headings: means with their intervals."""
    for row in result.codes:
        means = [row.found[measure][name].mean for name, measure in _columns(result)]
        yield [*_index(row), *(_told(mean, "{:.3f}") for mean in means)]


def code_differences(result: Result) -> Iterator[list[str]]:
    """Likewise of every index but the first: differences from that one."""
    for row in result.codes[1:]:
        differences = [row.found[measure][name].difference for name, measure in _columns(result)]
        yield [*_index(row), *(_told(difference, "{:+.3f}") for difference in differences)]


def console_codes(result: Result) -> Table:
    """For a terminal of 80 columns; the last is the interval of the share of float32's figure that aligned keeps."""
    columns = _columns(result)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(say("index"), no_wrap=True)
    deciding = result.measure if result.measure in (measure for _, measure in columns) else Column.OVERLAP_10
    named = [f"{name}\n{say(measure.heading).removesuffix('@10')}" for name, measure in columns]
    for heading in (say("bytes\na text"), *named, say("{product}\nkeeps", product=result.product.row)):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in result.codes:
        means = [row.found[measure][name].mean for name, measure in columns]
        share = row.found[deciding][result.product.row].share if deciding in row.found else None
        kept = f"{share.low:.0%}-{share.high:.0%}" if share else "-"
        table.add_row(*_index(row), *(number(mean.value if mean else None) for mean in means), kept)
    return table


def _columns(result: Result) -> list[tuple[RowName, Column]]:
    known = [measure for measure in MEASURES if all(measure in row.found for row in result.codes)]
    asking = result.codes[0].asking if result.codes else ()
    return [(name, measure) for name in asking for measure in known]


def _index(row: CodeRow) -> list[str]:
    return [row.index.name, f"{row.index.bytes_a_text:,}"]


def _told(interval: Interval | None, form: str) -> str:
    if interval is None:
        return "-"
    value, low, high = (form.format(end) for end in (interval.value, interval.low, interval.high))
    return say("{value} ({low} to {high})", value=value, low=low, high=high)
