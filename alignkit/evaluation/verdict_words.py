"""The reasons of a verdict, as sentences with their figures."""

from __future__ import annotations

from alignkit.evaluation.columns import Column
from alignkit.evaluation.evidence import Evidence
from alignkit.metrics.intervals import Interval

WAYS_OUT = (
    "search with the student's own index, or take another teacher: a model made for embeddings, or the prompt and the "
    "pooling that this one needs"
)


def of_lead(evidence: Evidence, lead: Interval) -> str:
    """The student's own index beside the teacher's."""
    return (
        f"the student's own index reaches {_heading(evidence)} {evidence.student_mean:.3f}, the teacher's "
        f"{evidence.teacher_mean:.3f}: {lead.value:+.3f} (95% interval {lead.low:+.3f} to {lead.high:+.3f})"
    )


def of_seen(evidence: Evidence, most: float) -> str:
    """How many queries the head was trained on."""
    return (
        f"the head was trained on {evidence.seen:,} of the {evidence.asked:,} queries "
        f"({evidence.seen / evidence.asked:.1%}; at most {most:.0%} may be), so that the figures flatter it; "
        "evaluate on texts that it has not seen, such as the test split of its own run (config.yaml there has the "
        "settings)"
    )


def of_empty_share(evidence: Evidence, threshold: float) -> str:
    """Why a share of the teacher's figure says nothing here."""
    measure = _heading(evidence)
    if evidence.share is None:
        return (
            f"the teacher's own {measure} is 0 or nearly so, and there is nothing to keep; do queries, texts and "
            "judgements belong together?"
        )
    return (
        f"a head that knows nothing keeps {evidence.floor_share:.0%} of the teacher's {measure} here, so that "
        f"{threshold:.0%} would be passed by construction"
    )


def of_share(row: str, share: Interval, evidence: Evidence, threshold: float, bound: str = "lower bound") -> str:
    """A row's share of the teacher's figure, and on which side of a threshold its bound is."""
    value = {"lower bound": share.low, "upper bound": share.high}[bound]
    relation = "reaches" if value >= threshold else "is below"
    return (
        f"{row} keeps {share.value:.1%} of the teacher's {_heading(evidence)} (95% interval {share.low:.1%} to "
        f"{share.high:.1%}); the {bound} {relation} {threshold:.0%}"
    )


def of_broken(share: Interval, evidence: Evidence, threshold: float) -> str:
    """A share so small that something is wrong, and what that probably is."""
    cause = "are all pairs of the same sentence?"
    if evidence.unlike:
        cause = f"probably because {evidence.unlike}; train on texts like these"
    return f"{of_share('aligned', share, evidence, threshold, 'upper bound')}, which counts as broken: {cause}"


def of_rival(evidence: Evidence) -> str:
    """The head beside the student's own index."""
    gain = evidence.gain
    if gain is None:
        return "the student's own index could not be compared"
    if gain.low > 0:
        who = "aligned is better than the student's own index"
    elif gain.high < 0:
        who = "the student's own index is better"
    else:
        who = "aligned and the student's own index do not differ beyond chance"
    return f"{who}: {_heading(evidence)} {gain.value:+.3f} (95% interval {gain.low:+.3f} to {gain.high:+.3f})"


def _heading(evidence: Evidence) -> str:
    return Column(evidence.measure).heading
