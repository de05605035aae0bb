"""The table of groups: what the head keeps for each, the worst first."""

from __future__ import annotations

from dataclasses import dataclass

from rich.table import Table

from alignkit.evaluation.evidence import MIN_GROUPS, MIN_QUERIES
from alignkit.evaluation.group_figures import GroupFigure
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import Product
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


@dataclass(frozen=True)
class GroupTable:
    """Groups for a reader.

    Attributes:
        groups: all of them, as they are ordered.
        field: by which they were asked for; `None` where nobody asked.
        measure: its heading.
        product: which row is compared with the teacher's.
        file: that has all groups.
    """

    groups: tuple[GroupFigure, ...]
    field: str | None
    measure: str
    product: Product
    file: str = "metrics.json"

    @classmethod
    def of_result(cls, result: Result) -> GroupTable:
        """Those of an evaluation."""
        return cls(result.groups, result.grouped_by, say(result.measure.heading), result.product)

    def headings(self) -> list[str]:
        """Of the columns."""
        product, own_index = self.product.row.value, self.product.own_index.value
        kept = say("share of the teacher")
        return [self._name(), say("queries"), product, say("interval"), own_index, say("teacher"), kept]

    def rows(self) -> list[list[str]]:
        """Those that a report shows, as wide as the headings."""
        return [_cells(group) for group in self._shown()]

    def notes(self) -> list[str]:
        """How the table is meant, and what is not in it; nothing where there are no groups."""
        if not self.groups:
            return []
        shown, small = self._shown(), self._small()
        words = (
            "{shown:,} of {all:,} groups, by what {product} loses against the teacher in {measure}, the most first, "
            "with 95% intervals."
            if self._beside_teacher()
            else "{shown:,} of {all:,} groups, by {measure} of {product}, the lowest first, with 95% intervals."
        )
        notes = [
            say(
                words,
                shown=len(shown),
                all=len(self.groups),
                product=self.product.row.value,
                measure=self.measure,
            )
        ]
        if len(self.groups) - small > 1:
            notes.append(say(OF_MANY))
        if small:
            notes.append(
                say(
                    "Too small to tell: {small:,} groups with fewer than {queries} queries, or with queries of fewer "
                    "than {labels} labels. They come last, without an interval.",
                    small=small,
                    queries=MIN_QUERIES,
                    labels=MIN_GROUPS,
                )
            )
        if len(shown) < len(self.groups):
            notes.append(say("{file} has them all.", file=self.file))
        return notes

    def above(self) -> str:
        """What stands above the table on a terminal."""
        words = (
            "{measure} by {field}, what loses most against the teacher first:"
            if self._beside_teacher()
            else "{measure} by {field}, the lowest first:"
        )
        return say(words, measure=self.measure, field=self.field)

    def console(self) -> Table:
        """For a terminal of 80 columns."""
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column(self._name(), overflow="ellipsis", no_wrap=True, max_width=24)
        product = self.product.row.value
        for heading in (say("queries"), product, say("95% interval"), say("teacher"), say("of teacher")):
            table.add_column(heading, justify="right", no_wrap=True)
        for group in self.groups[:ON_SCREEN]:
            interval = say("too few") if group.interval is None else _range(group.interval, "{:.3f}")
            kept = "-" if group.share is None else _range(group.share, "{:.0%}", "-")
            figures = (number(group.product), interval, number(group.teacher), kept)
            table.add_row(_plain(group.name), f"{group.queries:,}", *figures)
        return table

    def below(self) -> list[str]:
        """What stands below it."""
        lines = []
        if small := self._small():
            words = "too few: fewer than {queries} queries, or {labels} labels ({small:,} groups)"
            lines.append(say(words, queries=MIN_QUERIES, labels=MIN_GROUPS, small=small))
        if len(self.groups) > ON_SCREEN:
            more = len(self.groups) - ON_SCREEN
            lines.append(say("{more:,} more groups are in {file}", more=more, file=self.file))
        return lines

    def _beside_teacher(self) -> bool:
        return any(group.teacher is not None for group in self.groups)

    def _name(self) -> str:
        return self.field or say("group")

    def _shown(self) -> tuple[GroupFigure, ...]:
        return self.groups[: MOST if self.field else WORST]

    def _small(self) -> int:
        return sum(group.is_too_small for group in self.groups)


def _cells(group: GroupFigure) -> list[str]:
    interval = say(TOO_SMALL) if group.interval is None else _range(group.interval, "{:.3f}")
    share = group.share
    kept = "-" if share is None else say("{value:.1%} ({low:.1%} to {high:.1%})", **vars(share))
    figures = (number(group.product), interval, number(group.own_index), number(group.teacher))
    return [group.name, f"{group.queries:,}", *figures, kept]


def _range(interval: Interval, form: str, between: str | None = None) -> str:
    low, high = form.format(interval.low), form.format(interval.high)
    return say("{low} to {high}", low=low, high=high) if between is None else f"{low}{between}{high}"


def _plain(name: str) -> str:
    """One line, and nothing that rich takes for markup."""
    return " ".join(name.split()).replace("[", "\\[")
