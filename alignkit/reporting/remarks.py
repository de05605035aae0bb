"""What a reader has to know beside the verdict: notes on the figures, and alarms."""

from __future__ import annotations

from alignkit.evaluation.alarms import Alarm
from alignkit.evaluation.evidence import OVERLAP
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import RowName
from alignkit.reporting.student_words import lost_words
from alignkit.reporting.verdict_words import seen_words, unlike_words


def notes_of(result: Result) -> list[str]:
    """What was left out, and how the figures are meant."""
    evidence, notes = result.verdict.evidence, list(result.origin.notes)
    if evidence.relevant is not None and evidence.measure == OVERLAP:
        queries, groups = evidence.relevant
        notes.append(
            f"only {queries:,} of {evidence.asked:,} queries, in {groups:,} groups, have something that is relevant to "
            f"them; the verdict goes by {OVERLAP}, which needs no judgements"
        )
    if evidence.groups < evidence.queries:
        notes.append(
            f"{evidence.queries:,} queries in {evidence.groups:,} groups of one label: the intervals draw whole "
            "groups, because queries of one group fare alike"
        )
    if evidence.cascade_only_reorders:
        notes.append(
            f"{result.label(RowName.CASCADE)} puts the first ten hits of {result.product.row} in another order, so "
            f"that its {OVERLAP} is the same by construction; on so small a corpus it says nothing about a cascade"
        )
    product = result.product
    if product.plain in result.rows:
        notes.append(
            f"the queries of {product.row} are whitened, to find more; {product.plain} is what they find "
            "without it, and how near both come to the teacher's vectors is measured without it"
        )
    return notes


def alarms_of(result: Result) -> list[str]:
    """What is wrong, each as a sentence that says what it would do to a search; empty where nothing is."""
    return [_alarm(alarm, result) for alarm in result.alarms]


def _alarm(alarm: Alarm, result: Result) -> str:
    health, evidence = result.health, result.verdict.evidence
    if alarm is Alarm.SEEN:
        return f"{seen_words(evidence)}: its figures are too good"
    if alarm is Alarm.CONSTANT:
        same = health.constant_share.aligned
        return f"{same:.0%} of the aligned vectors are one and the same: the head ignores its input"
    if alarm is Alarm.COLLAPSED:
        return (
            f"{health.collapsed_dimensions:.0%} of the dimensions hardly move in the aligned vectors: part of the "
            "teacher's space is never reached"
        )
    if alarm is Alarm.NARROW:
        rank = health.effective_rank
        return (
            f"the aligned vectors spread over {rank.aligned:.0f} effective dimensions, the teacher's over "
            f"{rank.teacher:.0f}: fine distinctions are lost"
        )
    if alarm is Alarm.HUBS:
        hubs = health.hubness_skew
        return (
            f"a few texts come up for everything (hubness skew {hubs.aligned:.1f}, the teacher's {hubs.teacher:.1f}): "
            "look at what the worst queries found"
        )
    student = result.about.student
    if alarm is Alarm.FORGOTTEN and student and student.forgetting:
        return lost_words(student.forgetting)
    unlike = unlike_words(evidence.unlike) if evidence.unlike else "these texts are unlike the training sentences"
    return f"{unlike}; expect less of the head here, and train on texts like these"
