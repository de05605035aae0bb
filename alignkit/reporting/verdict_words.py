"""A verdict in sentences: what to do, and the figures that decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alignkit.evaluation.evidence import MIN_GROUPS, MIN_QUERIES, Evidence
from alignkit.evaluation.table_rows import RowName
from alignkit.evaluation.verdict import BROKEN_SHARE, MIN_CORPUS, MOST_SEEN, Answer, Rule, Verdict
from alignkit.language.speaking import say
from alignkit.metrics.intervals import Interval
from alignkit.runs.training_sample import Unlike

# {product} is what is judged, {index} the student's own index that it is held against
HEADLINES = {
    Answer.USE: "Use it: put {product} in front of the teacher's index.",
    Answer.USE_WITH_CASCADE: "Use it with a cascade: let the head find candidates and the teacher rerank them.",
    Answer.TEACHER_IS_WORSE: "Do not keep this teacher: {index} finds more than the teacher's.",
    Answer.OWN_INDEX: "Search with {index}: it finds more than the head does in the teacher's.",
    Answer.DO_NOT: "Do not use {product}.",
    Answer.TOO_LITTLE_DATA: "This test set is too small to tell.",
}
SEEN = "This test set cannot tell: {trained} trained on part of it."
# of a row that is the product: its name in a headline, and what was trained
PRODUCTS = {
    RowName.ALIGNED: ("this head", "the head was"),
    RowName.TUNED: ("this student with its head", "the student was"),
}
# of a student's own index, beside a product
INDEXES = {
    (RowName.ALIGNED, RowName.STUDENT): "the student's own index",
    (RowName.TUNED, RowName.STUDENT_TUNED): "the trained student's own index",
    (RowName.TUNED, RowName.STUDENT): "the untouched student's own index",
}
# by whether the upper bound is meant, and whether it reaches the threshold
BOUNDS = {
    (False, True): "{kept}; the lower bound reaches {threshold:.0%}",
    (False, False): "{kept}; the lower bound is below {threshold:.0%}",
    (True, True): "{kept}; the upper bound reaches {threshold:.0%}",
    (True, False): "{kept}; the upper bound is below {threshold:.0%}",
}
WAYS_OUT = (
    "search with the student's own index, or take another teacher: a model made for embeddings, or the prompt and the "
    "pooling that this one needs"
)


@dataclass(frozen=True)
class VerdictWords:
    """A verdict for people.

    Attributes:
        name: `use`, `use_with_cascade`, `own_index`, `teacher_is_worse`, `do_not` or `too_little_data`.
        headline: one sentence.
        reasons: the figures that decided, in words.
    """

    name: str
    headline: str
    reasons: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As `verdict_text` in `metrics.json` has it."""
        return {"name": self.name, "headline": self.headline, "reasons": list(self.reasons)}


def verdict_words(verdict: Verdict) -> VerdictWords:
    """What the verdict says."""
    evidence = verdict.evidence
    product, trained = map(say, PRODUCTS[evidence.product])
    headline = SEEN if verdict.rule is Rule.SEEN_IN_TRAINING else HEADLINES[verdict.name]
    reasons = [say(verdict) for say in REASONS[verdict.rule]]
    if evidence.judged != evidence.product and verdict.name is not Answer.TOO_LITTLE_DATA:
        reasons.append(_plain(evidence))
    if evidence.over_head is not None and verdict.name is not Answer.TOO_LITTLE_DATA:
        reasons.append(over_head_words(evidence.measure.heading, evidence.over_head))
    said = say(headline, product=product, trained=trained, index=_index(evidence))
    return VerdictWords(verdict.name.value, said, tuple(reasons))


def over_head_words(measure: str, gain: Interval) -> str:
    """What training the student brought over the head alone."""
    values = {"measure": say(measure), "gain": difference(gain)}
    if gain.high < 0:
        return say(
            "training the student: {measure} {gain} over the head alone: the head alone on the untouched student is "
            "better",
            **values,
        )
    if gain.low > 0:
        return say("training the student: {measure} {gain} over the head alone", **values)
    return say("training the student: {measure} {gain} over the head alone, which could be chance", **values)


def unlike_words(unlike: Unlike) -> str:
    """How far texts are from the training sentences."""
    return say(
        "these texts are unlike the training sentences: the median cosine with the nearest of them is {nearest:.2f} in "
        "the student's space, and {held_out:.2f} for sentences held out from training",
        nearest=unlike.nearest,
        held_out=unlike.held_out,
    )


def seen_words(evidence: Evidence) -> str:
    """How many queries the product was trained on."""
    trained = say(PRODUCTS[evidence.product][1])
    return say(
        "{trained} trained on {seen:,} of the {asked:,} queries",
        trained=trained,
        seen=evidence.seen or 0,
        asked=evidence.asked,
    )


def _plain(evidence: Evidence) -> str:
    return say(
        "{judged} stands for {product} here: whitened queries look for the right text, not for the teacher's "
        "neighbours that {measure} counts",
        judged=evidence.judged,
        product=evidence.product,
        measure=say(evidence.measure.heading),
    )


def _index(evidence: Evidence) -> str:
    return say(INDEXES[evidence.product, evidence.rival])


def _few_queries(verdict: Verdict) -> str:
    return say(
        "{queries:,} queries can be judged; at least {least} are needed",
        queries=verdict.evidence.queries,
        least=MIN_QUERIES,
    )


def _few_groups(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return say(
        "{queries:,} queries can be judged, of {groups} labels only, and queries of one label fare alike; at least "
        "{least} labels are needed: hold out more of them (test= of build, or data.test=)",
        queries=evidence.queries,
        groups=evidence.groups,
        least=MIN_GROUPS,
    )


def _small_corpus(verdict: Verdict) -> str:
    return say(
        "the corpus holds {texts} texts; at least {least} are needed", texts=verdict.evidence.corpus, least=MIN_CORPUS
    )


def _lead(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return say(
        "{index} reaches {measure} {own:.3f}, the teacher's {teacher:.3f}: {lead}",
        index=_index(evidence),
        measure=say(evidence.measure.heading),
        own=evidence.student_mean,
        teacher=evidence.teacher_mean,
        lead=difference(evidence.lead),
    )


def _head_trails(verdict: Verdict) -> str:
    evidence = verdict.evidence
    if evidence.share is None or evidence.gain is None:
        return say("there is no figure of {row} queries to compare with", row=evidence.judged)
    return say(
        "{row} reaches {value:.1%} of the teacher's figure (95% interval {low:.1%} to {high:.1%}) and trails {index} "
        "as well: {gain}",
        row=evidence.judged,
        index=_index(evidence),
        gain=difference(evidence.gain),
        **vars(evidence.share),
    )


def _ways_out(verdict: Verdict) -> str:
    return say(WAYS_OUT)


def _seen(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return say(
        "{seen} ({share:.1%}; at most {most:.0%} may be), so that the figures flatter it; evaluate on texts that it "
        "has not seen, such as the test split of its own run (config.yaml there has the settings)",
        seen=seen_words(evidence),
        share=(evidence.seen or 0) / evidence.asked,
        most=MOST_SEEN,
    )


def _nothing_to_keep(verdict: Verdict) -> str:
    return say(
        "the teacher's own {measure} is 0 or nearly 0, so there is nothing to keep; do the queries, texts and "
        "judgements belong together?",
        measure=say(verdict.evidence.measure.heading),
    )


def _blind(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return say(
        "a head that knows nothing keeps {floor:.0%} of the teacher's {measure} here, so any head would reach "
        "{enough:.0%}",
        floor=evidence.floor_share,
        measure=say(evidence.measure.heading),
        enough=verdict.thresholds.worth_using,
    )


def _kept(verdict: Verdict) -> str:
    return _share(verdict.evidence.judged, verdict.evidence.share, verdict, verdict.thresholds.worth_using)


def _hardly_matters(verdict: Verdict) -> str:
    return say(
        "{kept} and the share {enough:.0%}, where a slightly better student hardly matters",
        kept=_kept(verdict),
        enough=verdict.thresholds.as_good_as_teacher,
    )


def _broken(verdict: Verdict) -> str:
    share = _share(verdict.evidence.judged, verdict.evidence.share, verdict, BROKEN_SHARE, upper=True)
    if verdict.evidence.unlike:
        return say(
            "{share}, which counts as broken: probably because {unlike}; train on texts like these",
            share=share,
            unlike=unlike_words(verdict.evidence.unlike),
        )
    return say("{share}, which counts as broken: are all pairs of the same sentence?", share=share)


def _reranked(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return _share(evidence.cascade_name, evidence.cascade_share, verdict, verdict.thresholds.worth_using)


def _rival(verdict: Verdict) -> str:
    gain, product, index = verdict.evidence.gain, verdict.evidence.judged, _index(verdict.evidence)
    if gain is None:
        return say("there is no figure of {index} to compare with", index=index)
    if gain.low > 0:
        compared = "{product} is better than {index}: {measure} {gain}"
    elif gain.high < 0:
        compared = "{index} is better than {product}: {measure} {gain}"
    else:
        compared = "{product} and {index} do not differ beyond chance: {measure} {gain}"
    measure = say(verdict.evidence.measure.heading)
    return say(compared, product=product, index=index, measure=measure, gain=difference(gain))


def _share(row: str, share: Interval | None, verdict: Verdict, threshold: float, *, upper: bool = False) -> str:
    """A row's share of the teacher's figure, and on which side of a threshold its lower or upper bound is."""
    if share is None:
        return say("{row} has no share of the teacher's figure", row=row)
    kept = say(
        "{row} keeps {value:.1%} of the teacher's {measure} (95% interval {low:.1%} to {high:.1%})",
        row=row,
        measure=say(verdict.evidence.measure.heading),
        **vars(share),
    )
    reaches = (share.high if upper else share.low) >= threshold
    return say(BOUNDS[upper, reaches], kept=kept, threshold=threshold)


def difference(interval: Interval | None) -> str:
    """A difference of two figures, with its interval."""
    if interval is None:
        return say("undefined")
    return say("{value:+.3f} (95% interval {low:+.3f} to {high:+.3f})", **vars(interval))


REASONS: dict[Rule, tuple[Callable[[Verdict], str], ...]] = {
    Rule.FEW_QUERIES: (_few_queries,),
    Rule.FEW_GROUPS: (_few_groups,),
    Rule.SMALL_CORPUS: (_small_corpus,),
    Rule.TEACHER_TRAILS: (_lead, _head_trails, _ways_out),
    Rule.SEEN_IN_TRAINING: (_seen,),
    Rule.TEACHER_FINDS_NOTHING: (_nothing_to_keep,),
    Rule.BLIND_HEAD_PASSES: (_blind,),
    Rule.REACHES: (_kept, _rival),
    Rule.HARDLY_MATTERS: (_hardly_matters, _rival),
    Rule.BROKEN: (_broken, _rival),
    Rule.STUDENT_IS_BETTER: (_kept, _rival),
    Rule.FALLS_SHORT: (_kept, _rival),
    Rule.CASCADE_REACHES: (_kept, _reranked),
    Rule.CASCADE_FALLS_SHORT: (_kept, _reranked),
}
