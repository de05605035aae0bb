"""What `watch` found, in sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alignkit.metrics.intervals import Interval
from alignkit.reporting.figure_tables import number
from alignkit.watching.replaced import ALIKE
from alignkit.watching.standing import FEWEST_CALLS, FEWEST_OF_REFERENCE, Judged, Standing
from alignkit.watching.unlikeness import Group
from alignkit.watching.watched import Watched

HEADLINES = {
    Standing.AS_BEFORE: "As before: live queries fare like {reference}.",
    Standing.WORSE: "Worse, since {since}: live queries fare below {reference}.",
    Standing.TOO_LITTLE_DATA: "Too little data to tell.",
}
NOT_ASKED = "The teacher was not asked (budget=0), so there is no verdict."
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
        return NOT_ASKED
    return HEADLINES[judged.standing].format(reference=judged.of, since=judged.since)


def reasons(watched: Watched) -> list[str]:
    """The figures that decided, and what they probably come from."""
    judged = watched.judged
    if judged is None:
        return []
    said = list(_figures(watched, judged))
    if judged.change is not None:
        which = "since then" if judged.standing is Standing.WORSE else "in this look"
        said.append(f"overlap@10 of live queries less that of held-out ones, {which}: {_change(judged.change)}")
    if judged.standing is Standing.TOO_LITTLE_DATA:
        said.append(_too_little(judged))
    looks = judged.course[-1].number
    said.append(
        f"evidence of a drop: {evidence_words(judged.evidence)} of {judged.needed:.0f} needed, from {judged.calls:,} "
        f"queries in {looks:,} look{'s' if looks > 1 else ''}; however many looks, a false alarm has a probability of "
        "at most 5%"
    )
    if judged.standing is Standing.WORSE:
        said += _causes(watched, judged)
    return said


def unlike_line(watched: Watched) -> str:
    """How unlike training all queries are, in one sentence."""
    everything = watched.unlikeness.all
    if everything.far is None:
        return f"how unlike the training sentences {everything.queries:,} queries are is not known: no run came with it"
    return (
        f"{everything.far:.1%} of {everything.queries:,} queries are farther from the training sentences than 99% of "
        "those held out from them (1% is expected)"
    )


def model_lines(watched: Watched) -> list[str]:
    """Whether the models are those of the training, a sentence each."""
    return [
        f"the {side} is the one that the head was trained with: texts that the run keeps are embedded as then (lowest "
        f"cosine {lowest:.4f})"
        if lowest >= ALIKE
        else f"the {side} embeds texts that the run keeps nearly as when the head was trained (lowest cosine "
        f"{lowest:.4f}): the vectors of the training were rounded, or its settings changed"
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
    for note in (*watched.notes, *(line for line in model_lines(watched) if "nearly" in line)):
        yield f"  ? {note}"
    yield ""
    yield unlike_line(watched)
    unlikeness = watched.unlikeness
    yield from _table("day", unlikeness.days[-DAYS_SHOWN:])
    yield from _table("cluster", unlikeness.clusters[:CLUSTERS_SHOWN])


def _table(name: str, groups: Sequence[Group]) -> Iterator[str]:
    if groups:
        yield f"  {name:<12}" + "".join(f"{column:>12}" for column in GROUP_COLUMNS)
    for group in groups:
        yield f"  {group.name:<12}" + "".join(f"{cell:>12}" for cell in group_cells(group))
        yield from (f"      {_short(example)}" for example in group.examples)


def _short(text: str) -> str:
    text = "".join(one for one in " ".join(text.split()) if one.isprintable())
    return text if len(text) <= EXAMPLE_LENGTH else f"{text[: EXAMPLE_LENGTH - 3]}..."


def _figures(watched: Watched, judged: Judged) -> Iterator[str]:
    for name, key in (("overlap@10", "overlap"), ("cosine", "cosine")):
        parts = []
        for means, whose in ((judged.last, "live"), (judged.reference, "held-out")):
            if means is not None:
                interval: Interval = getattr(means, key)
                parts.append(f"{number(interval.value)} ({_range(interval)}) of {means.queries:,} {whose} queries")
        own = watched.in_report.get({"overlap": "overlap@10", "cosine": "cosine_mean"}[key])
        if own is not None:
            parts.append(f"{number(own)} in the head's own report")
        yield f"{name}: {', '.join(parts)}"


def _too_little(judged: Judged) -> str:
    if judged.reference is None or judged.reference.queries < FEWEST_OF_REFERENCE:
        return f"there are too few queries to compare with; at least {FEWEST_OF_REFERENCE} are needed"
    if judged.calls < FEWEST_CALLS:
        return f"the teacher was asked for {judged.calls:,} queries; at least {FEWEST_CALLS} are needed"
    return "this look is worse than chance allows for a single one; the next looks will tell whether it stays so"


def _causes(watched: Watched, judged: Judged) -> Iterator[str]:
    """What else has changed: the index, or the queries."""
    index, everything = watched.index_change, watched.unlikeness.all
    if judged.from_first_look:
        yield "it was so from the first look on: the texts held out from training are easier for the head than these"
    index_fell = index is not None and index.high < 0
    if index_fell and index is not None:
        yield (
            "the index has changed: overlap@10 of the same held-out queries in it, less that of the first look: "
            f"{_change(index)}"
        )
    if everything.far is not None and everything.far >= MANY_FAR:
        yield "the queries have changed: many are unlike the training sentences; train on texts like those below"
    elif not index_fell:
        yield "few queries are far from the training sentences, so it is not that they are about other things"


def evidence_words(evidence: float) -> str:
    """The e-process, as far as it matters."""
    return "over 1,000" if evidence > 1000 else number(evidence)


def _change(interval: Interval) -> str:
    return f"{interval.value:+.3f} (95% interval {interval.low:+.3f} to {interval.high:+.3f})"


def _range(interval: Interval) -> str:
    return f"{number(interval.low)} to {number(interval.high)}"
