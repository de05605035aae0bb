"""May this head be put in front of the teacher's index? An answer from intervals, in words, with what decided it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from alignkit.errors import ConfigError
from alignkit.evaluation import verdict_words as words
from alignkit.evaluation.evidence import MIN_GROUPS, MIN_QUERIES, Evidence
from alignkit.metrics.intervals import Interval

MIN_CORPUS = 50
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
        as_good_as_teacher: if the share itself reaches this too, a student's own index that is better by no more than
            what is left to 1 does not matter.
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
class Verdict:
    """The answer.

    Attributes:
        name: `use`, `use_with_cascade`, `own_index`, `teacher_is_worse`, `do_not` or `too_little_data`.
        headline: one sentence.
        reasons: the figures that decided, in words.
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
    "teacher_is_worse": "Do not keep this teacher: the student's own index finds more than the teacher's.",
    "own_index": "Search with the student's own index: it finds more than the head does in the teacher's.",
    "do_not": "Do not use this head.",
    "too_little_data": "This test set cannot tell: there is too little in it.",
}

SEEN = "This test set cannot tell: the head was trained on part of it."


def decide(evidence: Evidence, thresholds: Thresholds | None = None) -> Verdict:
    """Apply the rules, strictest doubt first.

    1. `too_little_data`: there are fewer than 30 queries, 10 groups of them or 50 texts.
    2. `teacher_is_worse`: the student's own index is better than the teacher's beyond its interval. What a head keeps
       of such a teacher is not worth having.
    3. `too_little_data`: the head was trained on more than 5% of the queries, the teacher itself finds nothing, or a
       head without knowledge would pass.
    4. `use`: the lower bound of the share reaches `worth_using`, and the student's own index is not better than the
       head beyond its interval, or the share itself reaches `as_good_as_teacher` and the student's own index is better
       by no more than 1 - `as_good_as_teacher` of the teacher's figure.
    5. `do_not`, if the upper bound of the share is below a quarter (`BROKEN_SHARE`): what broke the head (pairs out of
       order, another student, texts unlike the training sentences) is worth finding before anything else is built.
    6. `own_index`: the student's own index is better beyond its interval.
    7. `use_with_cascade`: the cascade's lower bound reaches `worth_using`, and a head without knowledge would not.
    8. else `do_not`.
    """
    thresholds = thresholds or Thresholds()
    if (few := _too_few(evidence)) is not None:
        return _verdict("too_little_data", few)
    if evidence.lead is not None and evidence.lead.low > 0:
        return _verdict("teacher_is_worse", words.of_lead(evidence, evidence.lead), words.WAYS_OUT)
    if evidence.seen > MOST_SEEN * evidence.asked:
        return Verdict("too_little_data", SEEN, (words.of_seen(evidence, MOST_SEEN),))
    if evidence.share is None or evidence.floor_share >= thresholds.worth_using:
        return _verdict("too_little_data", words.of_empty_share(evidence, thresholds.worth_using))
    return _judge(evidence, evidence.share, thresholds)


def _judge(evidence: Evidence, share: Interval, thresholds: Thresholds) -> Verdict:
    """Rules 4 to 8."""
    kept, rival = words.of_share("aligned", share, evidence, thresholds.worth_using), words.of_rival(evidence)
    student_is_better = evidence.gain is not None and evidence.gain.high < 0
    if share.low >= thresholds.worth_using and not student_is_better:
        return _verdict("use", kept, rival)
    if share.low >= thresholds.worth_using and _makes_no_difference(evidence, share, thresholds):
        enough = (
            f"{kept} and the share {thresholds.as_good_as_teacher:.0%}, where a slightly better student hardly matters"
        )
        return _verdict("use", enough, rival)
    if share.high < BROKEN_SHARE:
        return _verdict("do_not", words.of_broken(share, evidence, BROKEN_SHARE), rival)
    if student_is_better:
        return _verdict("own_index", kept, rival)
    cascade = evidence.cascade_share
    if cascade is None:
        return _verdict("do_not", kept, rival)
    reranked = words.of_share(evidence.cascade, cascade, evidence, thresholds.worth_using)
    if cascade.low >= thresholds.worth_using > evidence.floor_cascade_share:
        return _verdict("use_with_cascade", kept, reranked)
    return _verdict("do_not", kept, reranked)


def _verdict(name: str, *reasons: str) -> Verdict:
    return Verdict(name, HEADLINES[name], reasons)


def _makes_no_difference(evidence: Evidence, share: Interval, thresholds: Thresholds) -> bool:
    """Whether the head is as good as the teacher, and the student's own index hardly better than that."""
    if evidence.gain is None or share.value < thresholds.as_good_as_teacher:
        return False
    return -evidence.gain.value <= (1 - thresholds.as_good_as_teacher) * evidence.teacher_mean


def _too_few(evidence: Evidence) -> str | None:
    if evidence.queries < MIN_QUERIES:
        return f"{evidence.queries:,} queries can be judged; at least {MIN_QUERIES} are needed"
    if evidence.groups < MIN_GROUPS:
        return (
            f"{evidence.queries:,} queries can be judged, of {evidence.groups} labels only, and queries of one label "
            f"fare alike; at least {MIN_GROUPS} labels are needed: hold out more of them (test= of build, data.test=)"
        )
    if evidence.corpus < MIN_CORPUS:
        return f"the corpus holds {evidence.corpus} texts; at least {MIN_CORPUS} are needed"
    return None
