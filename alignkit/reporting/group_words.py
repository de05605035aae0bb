"""The table of groups: what the head keeps for each, the worst first."""

from __future__ import annotations

from rich.table import Table

from alignkit.evaluation.evidence import MIN_GROUPS, MIN_QUERIES
from alignkit.evaluation.group_figures import GroupFigure
from alignkit.evaluation.result import Result
from alignkit.metrics.intervals import Interval
from alignkit.reporting.figure_tables import number

# in a report, where nobody asked for groups; where somebody did, and on a terminal
WORST, MOST, ON_SCREEN = 10, 100, 20
TOO_SMALL = "too few queries"


def shown_groups(result: Result) -> tuple[GroupFigure, ...]:
    """Those of the report."""
    return result.groups[: MOST if result.grouped_by else WORST]


def group_headings(result: Result) -> list[str]:
    """Of the columns."""
    name = result.grouped_by or "group"
    product = result.product
    return [name, "queries", product.row.value, "interval", product.own_index.value, "teacher", "share of the teacher"]


def group_cells(group: GroupFigure) -> list[str]:
    """As wide as the headings."""
    interval = TOO_SMALL if group.interval is None else _range(group.interval, "{:.3f}")
    share = group.share
    kept = "-" if share is None else f"{share.value:.1%} ({_range(share, '{:.1%}')})"
    figures = (number(group.product), interval, number(group.own_index), number(group.teacher))
    return [group.name, f"{group.queries:,}", *figures, kept]


def group_notes(result: Result) -> list[str]:
    """How the table is meant, and what is not in it."""
    shown, small = shown_groups(result), [group for group in result.groups if group.is_too_small]
    measure, product = result.measure.heading, result.product.row.value
    notes = [
        f"{len(shown):,} of {len(result.groups):,} groups, by what {product} loses against the teacher in {measure}, "
        "the most first, with 95% intervals."
    ]
    if len(result.groups) - len(small) > 1:
        notes.append(
            "Of many groups one comes first by chance alone: a group is worse than the whole where its interval lies "
            "below the figure of all queries."
        )
    if small:
        notes.append(
            f"Too small to tell: {len(small):,} groups with fewer than {MIN_QUERIES} queries, or with queries of fewer "
            f"than {MIN_GROUPS} labels. They come last, without an interval."
        )
    if len(shown) < len(result.groups):
        notes.append("metrics.json has them all.")
    return notes


def console_groups(result: Result) -> Table:
    """For a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(result.grouped_by or "group", overflow="ellipsis", no_wrap=True, max_width=24)
    for heading in ("queries", result.product.row.value, "95% interval", "teacher", "of teacher"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in result.groups[:ON_SCREEN]:
        interval = "too few" if group.interval is None else _range(group.interval, "{:.3f}")
        kept = "-" if group.share is None else _range(group.share, "{:.0%}", "-")
        figures = (number(group.product), interval, number(group.teacher), kept)
        table.add_row(_plain(group.name), f"{group.queries:,}", *figures)
    return table


def console_groups_words(result: Result) -> tuple[str, list[str]]:
    """What stands above the table, and below it."""
    above = f"{result.measure.heading} by {result.grouped_by}, what loses most against the teacher first:"
    below = []
    if small := sum(group.is_too_small for group in result.groups):
        below.append(f"too few: fewer than {MIN_QUERIES} queries, or {MIN_GROUPS} labels ({small:,} groups)")
    if len(result.groups) > ON_SCREEN:
        below.append(f"{len(result.groups) - ON_SCREEN:,} more groups are in metrics.json")
    return above, below


def _range(interval: Interval, form: str, between: str = " to ") -> str:
    return f"{form.format(interval.low)}{between}{form.format(interval.high)}"


def _plain(name: str) -> str:
    """One line, and nothing that rich takes for markup."""
    return " ".join(name.split()).replace("[", "\\[")
