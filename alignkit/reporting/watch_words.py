"""What `watch` found, in sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from alignkit.embedders.steadiness import ALIKE
from alignkit.language.speaking import say, told
from alignkit.metrics.intervals import Interval
from alignkit.reporting.figure_tables import number
from alignkit.reporting.verdict_words import difference
from alignkit.watching.standing import FEWEST_CALLS, FEWEST_OF_REFERENCE, Judged, Standing
from alignkit.watching.unlikeness import Group
from alignkit.watching.watched import Watched

HEADLINES = {
    Standing.AS_BEFORE: "As before: live queries fare like {reference}.",
    Standing.WORSE: "Worse, since {since}: live queries fare below {reference}.",
    Standing.TOO_LITTLE_DATA: "Too little data to tell.",
}
NOT_ASKED = "The teacher was not asked (budget=0), so there is no verdict."
SAME_MODEL = (
    "the {side} is the one that the head was trained with: texts that the run keeps are embedded as then (lowest "
    "cosine {lowest:.4f})"
)
NEARLY_SAME_MODEL = (
    "the {side} embeds texts that the run keeps nearly as when the head was trained (lowest cosine {lowest:.4f}): the "
    "vectors of the training were rounded, or its settings changed"
)
GROUP_COLUMNS = ("queries", "far", "confidence", "new words", "new tokens")
COLUMN_MEANINGS = {
    "far": "share of queries farther from the nearest training sentence, as the student sees it, than 99% of the "
    "sentences that were held out from training",
    "confidence": "mean share of the teacher's ten nearest texts that the head expects to find",
    "new words": "share of the queries' words that no training sentence had",
    "new tokens": "the same of the tokens of a student that is a table: training has not seen their rows",
}
# a share of far queries that says more than the 1% that is expected
MANY_FAR = 0.05
DAYS_SHOWN, CLUSTERS_SHOWN, EXAMPLE_LENGTH = 7, 4, 68


def headline(watched: Watched) -> str:
    """One sentence."""
    judged = watched.judged
    if judged is None:
        return say(NOT_ASKED)
    return say(HEADLINES[judged.standing], reference=told(judged.of), since=told(str(judged.since)))


def reasons(watched: Watched) -> list[str]:
    """The figures that decided, and what they probably come from."""
    judged = watched.judged
    if judged is None:
        return []
    said = list(_figures(watched, judged))
    if judged.change is not None:
        less = "overlap@10 of live queries less that of held-out ones, in this look: {change}"
        if judged.standing is Standing.WORSE:
            less = "overlap@10 of live queries less that of held-out ones, since then: {change}"
        said.append(say(less, change=difference(judged.change)))
    if judged.standing is Standing.TOO_LITTLE_DATA:
        said.append(_too_little(judged))
    looks = judged.course[-1].number
    said.append(
        say(
            "evidence of a drop: {evidence} of {needed:.0f} needed, from {queries:,} queries in {looks}; however many "
            "looks, a false alarm has a probability of at most 5%",
            evidence=evidence_words(judged.evidence),
            needed=judged.needed,
            queries=judged.calls,
            looks=say("{looks:,} looks" if looks > 1 else "{looks:,} look", looks=looks),
        )
    )
    if judged.standing is Standing.WORSE:
        said += _causes(watched, judged)
    return said


def unlike_line(watched: Watched) -> str:
    """How unlike training all queries are, in one sentence."""
    everything = watched.unlikeness.all
    if everything.far is None:
        return say(
            "how unlike the training sentences {queries:,} queries are is not known: no run came with it",
            queries=everything.queries,
        )
    return say(
        "{far:.1%} of {queries:,} queries are farther from the training sentences than 99% of those held out from them "
        "(1% is expected)",
        far=everything.far,
        queries=everything.queries,
    )


def model_lines(watched: Watched) -> list[str]:
    """Whether the models are those of the training, a sentence each."""
    return [
        say(SAME_MODEL if lowest >= ALIKE else NEARLY_SAME_MODEL, side=say(side), lowest=lowest)
        for side, lowest in watched.lowest_cosines.items()
    ]


def group_cells(group: Group) -> list[str]:
    """A row of the tables of days and clusters, without its name."""
    shares = (group.far, group.confidence, group.new_words, group.new_tokens)
    return [f"{group.queries:,}", *("-" if one is None else f"{one:.1%}" for one in shares)]


def console_lines(watched: Watched) -> Iterator[str]:
    """For a terminal of 80 columns."""
    judged = watched.judged
    yield headline(watched) + (f" ({judged.standing.value})" if judged is not None else "")
    for line in reasons(watched):
        yield f"  - {line}"
    nearly = {side: lowest for side, lowest in watched.lowest_cosines.items() if lowest < ALIKE}
    for note in (*map(told, watched.notes), *model_lines(replace(watched, lowest_cosines=nearly))):
        yield f"  ? {note}"
    yield ""
    yield unlike_line(watched)
    unlikeness = watched.unlikeness
    yield from _table(say("day"), unlikeness.days[-DAYS_SHOWN:])
    yield from _table(say("cluster"), unlikeness.clusters[:CLUSTERS_SHOWN])


def _table(name: str, groups: Sequence[Group]) -> Iterator[str]:
    if groups:
        yield f"  {_wide(name, -12)}" + "".join(_wide(say(column), 12) for column in GROUP_COLUMNS)
    for group in groups:
        yield f"  {_wide(told(group.name), -12)}" + "".join(f"{cell:>12}" for cell in group_cells(group))
        yield from (f"      {_short(example)}" for example in group.examples)


def _wide(text: str, width: int) -> str:
    """Filled up with spaces to so many columns of a terminal, on the left or, where the width is negative, right."""
    from rich.cells import cell_len

    space = " " * (abs(width) - cell_len(text))
    return space + text if width > 0 else text + space


def _short(text: str) -> str:
    text = "".join(one for one in " ".join(text.split()) if one.isprintable())
    return text if len(text) <= EXAMPLE_LENGTH else f"{text[: EXAMPLE_LENGTH - 3]}..."


def _figures(watched: Watched, judged: Judged) -> Iterator[str]:
    asked = {
        "{value} ({low} to {high}) of {queries:,} live queries": judged.last,
        "{value} ({low} to {high}) of {queries:,} held-out queries": judged.reference,
    }
    for name, key in (("overlap@10", "overlap"), ("cosine", "cosine")):
        parts = []
        for figure, means in asked.items():
            if means is not None:
                interval: Interval = getattr(means, key)
                ends = {end: number(value) for end, value in vars(interval).items()}
                parts.append(say(figure, queries=means.queries, **ends))
        own = watched.in_report.get({"overlap": "overlap@10", "cosine": "cosine_mean"}[key])
        if own is not None:
            parts.append(say("{value} in the head's own report", value=number(own)))
        yield say("{figure}: {parts}", figure=say(name), parts=say(", ").join(parts))


def _too_little(judged: Judged) -> str:
    if judged.reference is None or judged.reference.queries < FEWEST_OF_REFERENCE:
        return say("there are too few queries to compare with; at least {least} are needed", least=FEWEST_OF_REFERENCE)
    if judged.calls < FEWEST_CALLS:
        return say(
            "the teacher was asked for {queries:,} queries; at least {least} are needed",
            queries=judged.calls,
            least=FEWEST_CALLS,
        )
    return say("this look is worse than chance allows for a single one; the next looks will tell whether it stays so")


def _causes(watched: Watched, judged: Judged) -> Iterator[str]:
    """What else has changed: the index, or the queries."""
    index, everything = watched.index_change, watched.unlikeness.all
    if judged.from_first_look:
        yield say(
            "it was so from the first look on: the texts held out from training are easier for the head than these"
        )
    index_fell = index is not None and index.high < 0
    if index_fell and index is not None:
        yield say(
            "the index has changed: overlap@10 of the same held-out queries in it, less that of the first look: "
            "{change}",
            change=difference(index),
        )
    if everything.far is not None and everything.far >= MANY_FAR:
        yield say("the queries have changed: many are unlike the training sentences; train on texts like those below")
    elif not index_fell:
        yield say("few queries are far from the training sentences, so it is not that they are about other things")


def evidence_words(evidence: float) -> str:
    """The e-process, as far as it matters."""
    return say("over 1,000") if evidence > 1000 else number(evidence)
