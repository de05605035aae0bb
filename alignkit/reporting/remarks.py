"""What a reader has to know beside the verdict: notes on the figures, and alarms."""

from __future__ import annotations

from alignkit.evaluation.alarms import Alarm
from alignkit.evaluation.columns import Column
from alignkit.evaluation.evidence import OVERLAP
from alignkit.evaluation.result import Result
from alignkit.evaluation.table_rows import RowName
from alignkit.language.speaking import say, told
from alignkit.reporting.student_words import lost_words
from alignkit.reporting.verdict_words import seen_words, unlike_words


def notes_of(result: Result) -> list[str]:
    """What was left out, and how the figures are meant."""
    evidence, notes = result.verdict.evidence, [*cosine_words(result), *map(told, result.origin.notes)]
    if evidence.relevant is not None and evidence.measure == OVERLAP:
        queries, groups = evidence.relevant
        notes.append(
            say(
                "only {queries:,} of {asked:,} queries, in {groups:,} groups, have something that is relevant to them; "
                "the verdict goes by {measure}, which needs no judgements",
                queries=queries,
                asked=evidence.asked,
                groups=groups,
                measure=say(OVERLAP.heading),
            )
        )
    if evidence.groups < evidence.queries:
        notes.append(
            say(
                "{queries:,} queries in {groups:,} groups of one label: the intervals draw whole groups, because "
                "queries of one group fare alike",
                queries=evidence.queries,
                groups=evidence.groups,
            )
        )
    if evidence.cascade_only_reorders:
        notes.append(
            say(
                "{cascade} puts the first ten hits of {product} in another order, so that its {measure} is the same by "
                "construction; on so small a corpus it says nothing about a cascade",
                cascade=result.label(RowName.CASCADE),
                product=result.product.row,
                measure=say(OVERLAP.heading),
            )
        )
    product = result.product
    if product.plain in result.rows:
        notes.append(
            say(
                "the queries of {product} are whitened, to find more; {plain} is what they find without it, and how "
                "near both come to the teacher's vectors is measured without it",
                product=product.row,
                plain=product.plain,
            )
        )
    return notes


def cosine_words(result: Result) -> list[str]:
    """How cosines are to be read where all of them are high; nothing where they are not."""
    health, product = result.health, result.product.row
    if not health.teacher_shares_mean:
        return []
    why = say(
        "the teacher's vectors share a large mean: two different texts have a cosine of {random:.2f} there",
        random=health.random_cosine.teacher,
    )
    blind = result.rows[RowName.MEAN][Column.COSINE_MEAN] if RowName.MEAN in result.rows else None
    cosine, centred = (result.rows[product][one] for one in (Column.COSINE_MEAN, Column.COSINE_CENTERED_MEAN))
    if blind is None or cosine is None or centred is None:
        return [say("{why}, so a high cosine says little; go by what is found", why=why)]
    return [
        say(
            "{why}, and {mean}, one vector for every text, has {blind:.2f}; so the {cosine:.2f} of {product} says "
            "little: without the mean it is {centred:.2f} (centred). Go by that and by what is found",
            why=why,
            mean=RowName.MEAN,
            blind=blind,
            cosine=cosine,
            product=product,
            centred=centred,
        )
    ]


def alarms_of(result: Result) -> list[str]:
    """What is wrong, each as a sentence that says what it would do to a search; empty where nothing is."""
    return [_alarm(alarm, result) for alarm in result.alarms]


def _alarm(alarm: Alarm, result: Result) -> str:
    health, evidence = result.health, result.verdict.evidence
    if alarm is Alarm.SEEN:
        return say("{seen}: its figures are too good", seen=seen_words(evidence))
    if alarm is Alarm.CONSTANT:
        return say(
            "{same:.0%} of the aligned vectors are one and the same: the head ignores its input",
            same=health.constant_share.aligned,
        )
    if alarm is Alarm.COLLAPSED:
        return say(
            "{still:.0%} of the dimensions hardly move in the aligned vectors: part of the teacher's space is never "
            "reached",
            still=health.collapsed_dimensions,
        )
    if alarm is Alarm.NARROW:
        return say(
            "the aligned vectors spread over {aligned:.0f} effective dimensions, the teacher's over {teacher:.0f}: "
            "fine distinctions are lost",
            aligned=health.effective_rank.aligned,
            teacher=health.effective_rank.teacher,
        )
    if alarm is Alarm.HUBS:
        return say(
            "a few texts come up for everything (hubness skew {aligned:.1f}, the teacher's {teacher:.1f}): look at "
            "what the worst queries found",
            aligned=health.hubness_skew.aligned,
            teacher=health.hubness_skew.teacher,
        )
    student = result.about.student
    if alarm is Alarm.FORGOTTEN and student and student.forgetting:
        return lost_words(student.forgetting)
    unlike = unlike_words(evidence.unlike) if evidence.unlike else say("these texts are unlike the training sentences")
    return say("{unlike}; expect less of the head here, and train on texts like these", unlike=unlike)
