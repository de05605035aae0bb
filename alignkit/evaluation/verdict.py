"""May this head be put in front of the teacher's index? An answer from intervals, in words, with what decided it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alignkit.errors import ConfigError
from alignkit.evaluation.glossary import COLUMNS
from alignkit.metrics.intervals import Interval

# with fewer groups than this, an interval that draws whole groups is too narrow itself
MIN_QUERIES, MIN_GROUPS, MIN_CORPUS = 30, 10, 50
# a head that keeps less than this of the teacher has not learnt the task, whatever else may be better; sound heads on
# texts unlike those that they were trained on keep a third or more
BROKEN_SHARE = 0.25
# more queries than this that the head was trained on, and its figures say nothing of new ones
MOST_SEEN = 0.05


@dataclass(frozen=True)
class Thresholds:
    """Shares of the teacher's figure in (0, 1].

    Attributes:
        worth_using: the lower bound of a share must reach it, for the head as for the cascade.
        as_good_as_teacher: if the share itself reaches this too, it does not matter whether the student's own index is
            better still.
    """

    worth_using: float = 0.90
    as_good_as_teacher: float = 0.97

    def __post_init__(self) -> None:
        if not 0 < self.worth_using <= self.as_good_as_teacher <= 1:
            raise ConfigError(
                f"thresholds: expected 0 < worth_using <= as_good_as_teacher <= 1, got {self.worth_using} and "
                f"{self.as_good_as_teacher}"
            )


@dataclass(frozen=True)
class Evidence:
    """What the verdict looks at. Every share is of the teacher's mean figure, every interval over groups of queries.

    Attributes:
        measure: `ndcg@10` or `overlap@10`.
        queries: how many have a figure.
        groups: in how many groups these are that can differ by chance; as many where each stands for itself.
        corpus: rows that can be found.
        share: of `aligned`; `None` where the teacher itself finds nothing.
        student_share: of the student's own index.
        gain: aligned less student, in the measure itself.
        cascade_share: of `cascade@N`; `None` where it is that of `aligned` by construction.
        cascade: its name.
        floor_share: the best that a head without knowledge reaches here (random projection, mean predictor).
        floor_cascade_share: the same with reranking.
        asked: all queries, judged or not.
        seen: how many of those the head was trained on, as far as that is known.
    """

    measure: str
    queries: int
    groups: int
    corpus: int
    share: Interval | None
    student_share: Interval | None
    gain: Interval | None
    cascade_share: Interval | None
    cascade: str
    floor_share: float
    floor_cascade_share: float
    asked: int
    seen: int = 0


@dataclass(frozen=True)
class Verdict:
    """The answer.

    Attributes:
        name: `use`, `use_with_cascade`, `own_index`, `do_not` or `too_little_data`.
        headline: one sentence.
        reasons: the two figures that decided, in words.
    """

    name: str
    headline: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "headline": self.headline, "reasons": list(self.reasons)}


HEADLINES = {
    "use": "Use it: put this head in front of the teacher's index.",
    "use_with_cascade": "Use it with a cascade: let the head find candidates and the teacher rerank them.",
    "own_index": "Search with the student's own index: it finds more than the head does in the teacher's.",
    "do_not": "Do not use this head.",
    "too_little_data": "This test set cannot tell: there is too little in it.",
}

SEEN = "This test set cannot tell: the head was trained on part of it."


def decide(evidence: Evidence, thresholds: Thresholds | None = None) -> Verdict:
    """Apply the rules, strictest doubt first.

    1. `too_little_data`: the head was trained on more than 5% of the queries, there are fewer than 30 queries,
       10 groups of them or 50 texts, the teacher itself finds nothing, or a head without knowledge would pass.
    2. `use`: the lower bound of the share reaches `worth_using`, and the student's own index is not better beyond its
       interval or the share itself reaches `as_good_as_teacher`.
    3. `do_not`, if the upper bound of the share is below a quarter (`BROKEN_SHARE`): the head is broken, and what broke
       it (pairs out of order, another student) is worth finding before anything else is built.
    4. `own_index`: the student's own index is better beyond its interval.
    5. `use_with_cascade`: the cascade's lower bound reaches `worth_using`, and a head without knowledge would not.
    6. else `do_not`.
    """
    thresholds = thresholds or Thresholds()
    share, cascade = evidence.share, evidence.cascade_share
    doubt = _doubt(evidence, thresholds)
    if doubt is not None or share is None:  # the second is one of the doubts
        return Verdict("too_little_data", SEEN if _seen(evidence) else HEADLINES["too_little_data"], (doubt or "",))
    kept = _share_in_words("aligned", share, evidence, thresholds.worth_using)
    rival = _rival_in_words(evidence)
    student_is_better = evidence.gain is not None and evidence.gain.high < 0
    if share.low >= thresholds.worth_using and not student_is_better:
        return _verdict("use", kept, rival)
    if share.low >= thresholds.worth_using and share.value >= thresholds.as_good_as_teacher:
        enough = f"{kept} and the share {thresholds.as_good_as_teacher:.0%}, where a better student no longer matters"
        return _verdict("use", enough, rival)
    if share.high < BROKEN_SHARE:
        broken = _share_in_words("aligned", share, evidence, BROKEN_SHARE, "upper bound")
        return _verdict("do_not", f"{broken}, which counts as broken: are all pairs of the same sentence?", rival)
    if student_is_better:
        return _verdict("own_index", kept, rival)
    if cascade is None:
        return _verdict("do_not", kept, rival)
    reranked = _share_in_words(evidence.cascade, cascade, evidence, thresholds.worth_using)
    if cascade.low >= thresholds.worth_using > evidence.floor_cascade_share:
        return _verdict("use_with_cascade", kept, reranked)
    return _verdict("do_not", kept, reranked)


def _verdict(name: str, *reasons: str) -> Verdict:
    return Verdict(name, HEADLINES[name], reasons)


def _seen(evidence: Evidence) -> bool:
    return evidence.seen > MOST_SEEN * evidence.asked


def _doubt(evidence: Evidence, thresholds: Thresholds) -> str | None:
    measure = COLUMNS[evidence.measure]
    if _seen(evidence):
        return (
            f"the head was trained on {evidence.seen:,} of the {evidence.asked:,} queries "
            f"({evidence.seen / evidence.asked:.1%}; at most {MOST_SEEN:.0%} may be), so that the figures flatter it; "
            "evaluate on texts that it has not seen, such as the test split of its own run (config.yaml there has the "
            "settings)"
        )
    if evidence.queries < MIN_QUERIES:
        return f"{evidence.queries:,} queries can be judged; at least {MIN_QUERIES} are needed"
    if evidence.groups < MIN_GROUPS:
        return (
            f"{evidence.queries:,} queries can be judged, of {evidence.groups} labels only, and queries of one label "
            f"fare alike; at least {MIN_GROUPS} labels are needed: hold out more of them (test= of build, data.test=)"
        )
    if evidence.corpus < MIN_CORPUS:
        return f"the corpus holds {evidence.corpus} texts; at least {MIN_CORPUS} are needed"
    if evidence.share is None:
        return (
            f"the teacher's own {measure} is 0 or nearly so, and there is nothing to keep; do queries, texts and "
            "judgements belong together?"
        )
    if evidence.floor_share >= thresholds.worth_using:
        return (
            f"a head that knows nothing keeps {evidence.floor_share:.0%} of the teacher's {measure} here, so that "
            f"{thresholds.worth_using:.0%} would be passed by construction"
        )
    return None


def _share_in_words(row: str, share: Interval, evidence: Evidence, threshold: float, bound: str = "lower bound") -> str:
    value = {"lower bound": share.low, "upper bound": share.high}[bound]
    relation = "reaches" if value >= threshold else "is below"
    return (
        f"{row} keeps {share.value:.1%} of the teacher's {COLUMNS[evidence.measure]} (95% interval {share.low:.1%} to "
        f"{share.high:.1%}); the {bound} {relation} {threshold:.0%}"
    )


def _rival_in_words(evidence: Evidence) -> str:
    gain = evidence.gain
    if gain is None:
        return "the student's own index could not be compared"
    if gain.low > 0:
        who = "aligned is better than the student's own index"
    elif gain.high < 0:
        who = "the student's own index is better"
    else:
        who = "aligned and the student's own index do not differ beyond chance"
    return f"{who}: {COLUMNS[evidence.measure]} {gain.value:+.3f} (95% interval {gain.low:+.3f} to {gain.high:+.3f})"
