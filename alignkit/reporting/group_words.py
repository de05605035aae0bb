"""The table of groups: what the head keeps for each, the worst first."""

from __future__ import annotations

from rich.table import Table

from alignkit.evaluation.evidence import MIN_GROUPS, MIN_QUERIES
from alignkit.evaluation.group_figures import GroupFigure
from alignkit.evaluation.result import Result
from alignkit.language.speaking import say
from alignkit.metrics.intervals import Interval
from alignkit.reporting.figure_tables import number

# in a report, where nobody asked for groups; where somebody did, and on a terminal
WORST, MOST, ON_SCREEN = 10, 100, 20
TOO_SMALL = "too few queries"
OF_MANY = (
    "Of many groups one comes first by chance alone: a group is worse than the whole where its interval lies below the "
    "figure of all queries."
)


def shown_groups(result: Result) -> tuple[GroupFigure, ...]:
    """Those of the report."""
    return result.groups[: MOST if result.grouped_by else WORST]


def group_headings(result: Result) -> list[str]:
    """Of the columns."""
    name = result.grouped_by or say("group")
    product, own_index = result.product.row.value, result.product.own_index.value
    kept = say("share of the teacher")
    return [name, say("queries"), product, say("interval"), own_index, say("teacher"), kept]


def group_cells(group: GroupFigure) -> list[str]:
    """As wide as the headings."""
    interval = say(TOO_SMALL) if group.interval is None else _range(group.interval, "{:.3f}")
    share = group.share
    kept = "-" if share is None else say("{value:.1%} ({low:.1%} to {high:.1%})", **vars(share))
    figures = (number(group.product), interval, number(group.own_index), number(group.teacher))
    return [group.name, f"{group.queries:,}", *figures, kept]


def group_notes(result: Result) -> list[str]:
    """How the table is meant, and what is not in it."""
    shown, small = shown_groups(result), [group for group in result.groups if group.is_too_small]
    notes = [
        say(
            "{shown:,} of {all:,} groups, by what {product} loses against the teacher in {measure}, the most first, "
            "with 95% intervals.",
            shown=len(shown),
            all=len(result.groups),
            product=result.product.row.value,
            measure=say(result.measure.heading),
        )
    ]
    if len(result.groups) - len(small) > 1:
        notes.append(say(OF_MANY))
    if small:
        notes.append(
            say(
                "Too small to tell: {small:,} groups with fewer than {queries} queries, or with queries of fewer than "
                "{labels} labels. They come last, without an interval.",
                small=len(small),
                queries=MIN_QUERIES,
                labels=MIN_GROUPS,
            )
        )
    if len(shown) < len(result.groups):
        notes.append(say("metrics.json has them all."))
    return notes


def console_groups(result: Result) -> Table:
    """For a terminal of 80 columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(result.grouped_by or say("group"), overflow="ellipsis", no_wrap=True, max_width=24)
    product = result.product.row.value
    for heading in (say("queries"), product, say("95% interval"), say("teacher"), say("of teacher")):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in result.groups[:ON_SCREEN]:
        interval = say("too few") if group.interval is None else _range(group.interval, "{:.3f}")
        kept = "-" if group.share is None else _range(group.share, "{:.0%}", "-")
        figures = (number(group.product), interval, number(group.teacher), kept)
        table.add_row(_plain(group.name), f"{group.queries:,}", *figures)
    return table


def console_groups_words(result: Result) -> tuple[str, list[str]]:
    """What stands above the table, and below it."""
    above = say(
        "{measure} by {field}, what loses most against the teacher first:",
        measure=say(result.measure.heading),
        field=result.grouped_by,
    )
    below = []
    if small := sum(group.is_too_small for group in result.groups):
        below.append(
            say(
                "too few: fewer than {queries} queries, or {labels} labels ({small:,} groups)",
                queries=MIN_QUERIES,
                labels=MIN_GROUPS,
                small=small,
            )
        )
    if len(result.groups) > ON_SCREEN:
        below.append(say("{more:,} more groups are in metrics.json", more=len(result.groups) - ON_SCREEN))
    return above, below


def _range(interval: Interval, form: str, between: str | None = None) -> str:
    low, high = form.format(interval.low), form.format(interval.high)
    return say("{low} to {high}", low=low, high=high) if between is None else f"{low}{between}{high}"


def _plain(name: str) -> str:
    """One line, and nothing that rich takes for markup."""
    return " ".join(name.split()).replace("[", "\\[")
