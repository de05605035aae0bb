"""May this head be put in front of the teacher's index? An answer from intervals, and which rule decided it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from alignkit.errors import ConfigError
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


class Answer(StrEnum):
    """What to do with the head."""

    USE = "use"
    USE_WITH_CASCADE = "use_with_cascade"
    TEACHER_IS_WORSE = "teacher_is_worse"
    OWN_INDEX = "own_index"
    DO_NOT = "do_not"
    TOO_LITTLE_DATA = "too_little_data"


class Rule(Enum):
    """What decided."""

    FEW_QUERIES = auto()
    FEW_GROUPS = auto()
    SMALL_CORPUS = auto()
    TEACHER_TRAILS = auto()
    SEEN_IN_TRAINING = auto()
    TEACHER_FINDS_NOTHING = auto()
    BLIND_HEAD_PASSES = auto()
    REACHES = auto()
    HARDLY_MATTERS = auto()
    BROKEN = auto()
    STUDENT_IS_BETTER = auto()
    FALLS_SHORT = auto()
    CASCADE_REACHES = auto()
    CASCADE_FALLS_SHORT = auto()


@dataclass(frozen=True)
class Verdict:
    """The answer, and the rule and the figures that it rests on."""

    name: Answer
    rule: Rule
    evidence: Evidence
    thresholds: Thresholds


def decide(evidence: Evidence, thresholds: Thresholds | None = None) -> Verdict:
    """Apply the rules, strictest doubt first.

    1. `too_little_data`: there are fewer than 30 queries, 10 groups of them or 50 texts.
    2. `teacher_is_worse`: the student's own index is better than the teacher's beyond its interval, unless the head
       makes up for that: whitened queries may find more in the teacher's index than its own queries do. If the lower
       bound of the share reaches `worth_using` and the student's own index is not better than the head beyond its
       interval, the other rules decide.
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
    answer, rule = _doubt(evidence, thresholds) or _judge(evidence, thresholds)
    return Verdict(answer, rule, evidence, thresholds)


def _doubt(evidence: Evidence, thresholds: Thresholds) -> tuple[Answer, Rule] | None:
    """Rules 1 to 3: why nothing can be said of the head."""
    rule = None
    if evidence.queries < MIN_QUERIES:
        rule = Rule.FEW_QUERIES
    elif evidence.groups < MIN_GROUPS:
        rule = Rule.FEW_GROUPS
    elif evidence.corpus < MIN_CORPUS:
        rule = Rule.SMALL_CORPUS
    elif evidence.lead is not None and evidence.lead.low > 0 and not _makes_up(evidence, thresholds):
        return Answer.TEACHER_IS_WORSE, Rule.TEACHER_TRAILS
    elif (evidence.seen or 0) > MOST_SEEN * evidence.asked:
        rule = Rule.SEEN_IN_TRAINING
    elif evidence.share is None:
        rule = Rule.TEACHER_FINDS_NOTHING
    elif evidence.floor_share >= thresholds.worth_using:
        rule = Rule.BLIND_HEAD_PASSES
    return None if rule is None else (Answer.TOO_LITTLE_DATA, rule)


def _makes_up(evidence: Evidence, thresholds: Thresholds) -> bool:
    """Whether the head finds as much in a poor teacher's index as the student does in its own."""
    share, gain = evidence.share, evidence.gain
    return share is not None and share.low >= thresholds.worth_using and gain is not None and gain.high >= 0


def _judge(evidence: Evidence, thresholds: Thresholds) -> tuple[Answer, Rule]:
    """Rules 4 to 8."""
    share, cascade = evidence.share or Interval(0.0, 0.0, 0.0), evidence.cascade_share
    student_is_better = evidence.gain is not None and evidence.gain.high < 0
    if share.low >= thresholds.worth_using and not student_is_better:
        return Answer.USE, Rule.REACHES
    if share.low >= thresholds.worth_using and _makes_no_difference(evidence, share, thresholds):
        return Answer.USE, Rule.HARDLY_MATTERS
    if share.high < BROKEN_SHARE:
        return Answer.DO_NOT, Rule.BROKEN
    if student_is_better:
        return Answer.OWN_INDEX, Rule.STUDENT_IS_BETTER
    if cascade is None:
        return Answer.DO_NOT, Rule.FALLS_SHORT
    if cascade.low >= thresholds.worth_using > evidence.floor_cascade_share:
        return Answer.USE_WITH_CASCADE, Rule.CASCADE_REACHES
    return Answer.DO_NOT, Rule.CASCADE_FALLS_SHORT


def _makes_no_difference(evidence: Evidence, share: Interval, thresholds: Thresholds) -> bool:
    """Whether the head is as good as the teacher, and the student's own index hardly better than that."""
    if evidence.gain is None or share.value < thresholds.as_good_as_teacher:
        return False
    return -evidence.gain.value <= (1 - thresholds.as_good_as_teacher) * evidence.teacher_mean
