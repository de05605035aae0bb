"""A verdict in sentences: what to do, and the figures that decided."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alignkit.evaluation.evidence import MIN_GROUPS, MIN_QUERIES, Evidence
from alignkit.evaluation.table_rows import RowName
from alignkit.evaluation.verdict import BROKEN_SHARE, MIN_CORPUS, MOST_SEEN, Answer, Rule, Verdict
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
    product, trained = PRODUCTS[evidence.product]
    headline = SEEN if verdict.rule is Rule.SEEN_IN_TRAINING else HEADLINES[verdict.name]
    reasons = [say(verdict) for say in REASONS[verdict.rule]]
    if evidence.judged != evidence.product and verdict.name is not Answer.TOO_LITTLE_DATA:
        reasons.append(_plain(evidence))
    if evidence.over_head is not None and verdict.name is not Answer.TOO_LITTLE_DATA:
        reasons.append(over_head_words(evidence.measure.heading, evidence.over_head))
    said = headline.format(product=product, trained=trained, index=_index(evidence))
    return VerdictWords(verdict.name.value, said, tuple(reasons))


def over_head_words(measure: str, gain: Interval) -> str:
    """What training the student brought over the head alone."""
    said = f"training the student: {measure} {_difference(gain)} over the head alone"
    if gain.high < 0:
        return f"{said}: the head alone on the untouched student is better"
    return said if gain.low > 0 else f"{said}, which could be chance"


def unlike_words(unlike: Unlike) -> str:
    """How far texts are from the training sentences."""
    return (
        f"these texts are unlike the training sentences: the median cosine with the nearest of them is "
        f"{unlike.nearest:.2f} in the student's space, and {unlike.held_out:.2f} for sentences held out from training"
    )


def seen_words(evidence: Evidence) -> str:
    """How many queries the product was trained on."""
    return f"{PRODUCTS[evidence.product][1]} trained on {evidence.seen or 0:,} of the {evidence.asked:,} queries"


def _plain(evidence: Evidence) -> str:
    return (
        f"{evidence.judged} stands for {evidence.product} here: whitened queries look for the right text, not for the "
        f"teacher's neighbours that {evidence.measure.heading} counts"
    )


def _index(evidence: Evidence) -> str:
    return INDEXES[evidence.product, evidence.rival]


def _few_queries(verdict: Verdict) -> str:
    return f"{verdict.evidence.queries:,} queries can be judged; at least {MIN_QUERIES} are needed"


def _few_groups(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return (
        f"{evidence.queries:,} queries can be judged, of {evidence.groups} labels only, and queries of one label "
        f"fare alike; at least {MIN_GROUPS} labels are needed: hold out more of them (test= of build, or data.test=)"
    )


def _small_corpus(verdict: Verdict) -> str:
    return f"the corpus holds {verdict.evidence.corpus} texts; at least {MIN_CORPUS} are needed"


def _lead(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return (
        f"{_index(evidence)} reaches {evidence.measure.heading} {evidence.student_mean:.3f}, the teacher's "
        f"{evidence.teacher_mean:.3f}: {_difference(evidence.lead)}"
    )


def _head_trails(verdict: Verdict) -> str:
    evidence = verdict.evidence
    if evidence.share is None or evidence.gain is None:
        return f"there is no figure of {evidence.judged} queries to compare with"
    return (
        f"{evidence.judged} reaches {evidence.share.value:.1%} of the teacher's figure (95% interval "
        f"{evidence.share.low:.1%} to {evidence.share.high:.1%}) and trails {_index(evidence)} as "
        f"well: {_difference(evidence.gain)}"
    )


def _ways_out(verdict: Verdict) -> str:
    return WAYS_OUT


def _seen(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return (
        f"{seen_words(evidence)} ({(evidence.seen or 0) / evidence.asked:.1%}; at most {MOST_SEEN:.0%} may be), so "
        "that the figures flatter it; evaluate on texts that it has not seen, such as the test split of its own run "
        "(config.yaml there has the settings)"
    )


def _nothing_to_keep(verdict: Verdict) -> str:
    return (
        f"the teacher's own {verdict.evidence.measure.heading} is 0 or nearly 0, so there is nothing to keep; do the "
        "queries, texts and judgements belong together?"
    )


def _blind(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return (
        f"a head that knows nothing keeps {evidence.floor_share:.0%} of the teacher's {evidence.measure.heading} here, "
        f"so any head would reach {verdict.thresholds.worth_using:.0%}"
    )


def _kept(verdict: Verdict) -> str:
    return _share(verdict.evidence.judged, verdict.evidence.share, verdict, verdict.thresholds.worth_using)


def _hardly_matters(verdict: Verdict) -> str:
    enough = verdict.thresholds.as_good_as_teacher
    return f"{_kept(verdict)} and the share {enough:.0%}, where a slightly better student hardly matters"


def _broken(verdict: Verdict) -> str:
    cause = "are all pairs of the same sentence?"
    if verdict.evidence.unlike:
        cause = f"probably because {unlike_words(verdict.evidence.unlike)}; train on texts like these"
    share = _share(verdict.evidence.judged, verdict.evidence.share, verdict, BROKEN_SHARE, "upper bound")
    return f"{share}, which counts as broken: {cause}"


def _reranked(verdict: Verdict) -> str:
    evidence = verdict.evidence
    return _share(evidence.cascade_name, evidence.cascade_share, verdict, verdict.thresholds.worth_using)


def _rival(verdict: Verdict) -> str:
    gain, product, index = verdict.evidence.gain, verdict.evidence.judged, _index(verdict.evidence)
    if gain is None:
        return f"there is no figure of {index} to compare with"
    if gain.low > 0:
        who = f"{product} is better than {index}"
    elif gain.high < 0:
        who = f"{index} is better"
    else:
        who = f"{product} and {index} do not differ beyond chance"
    return f"{who}: {verdict.evidence.measure.heading} {_difference(gain)}"


def _share(row: str, share: Interval | None, verdict: Verdict, threshold: float, bound: str = "lower bound") -> str:
    """A row's share of the teacher's figure, and on which side of a threshold its bound is."""
    if share is None:
        return f"{row} has no share of the teacher's figure"
    value = {"lower bound": share.low, "upper bound": share.high}[bound]
    relation = "reaches" if value >= threshold else "is below"
    return (
        f"{row} keeps {share.value:.1%} of the teacher's {verdict.evidence.measure.heading} (95% interval "
        f"{share.low:.1%} to {share.high:.1%}); the {bound} {relation} {threshold:.0%}"
    )


def _difference(interval: Interval | None) -> str:
    if interval is None:
        return "undefined"
    return f"{interval.value:+.3f} (95% interval {interval.low:+.3f} to {interval.high:+.3f})"


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
