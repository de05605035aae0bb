"""What a head's confidence is worth, in sentences."""

from __future__ import annotations

from alignkit.evaluation.confidence_figures import ConfidenceFigures
from alignkit.language.speaking import say

OVERSTATES = 0.05
NOTHING = "No query has a teacher's neighbour to find, so nothing can be said of the confidence."
TOO_SURE = (
    "On average the head expects {told:.3f} and finds {true:.3f}: it is too sure. These texts or this corpus may "
    "differ from those that it learned from; trust the order of its confidence, not the values."
)
NOT_SURE_ENOUGH = (
    "On average the head expects {told:.3f} and finds {true:.3f}: it is not sure enough. These texts or this corpus "
    "may differ from those that it learned from; trust the order of its confidence, not the values."
)


def routing_words(figures: ConfidenceFigures) -> str:
    """What sending the least sure fifth of the queries to the teacher brings."""
    fifth = next((one for one in figures.routing if one.share == 0.2), None)
    if fifth is None or fifth.below is None or figures.true_mean is None:
        return say(NOTHING)
    return say(
        "Sending the fifth of the queries of which the head is least sure to the teacher gives overlap@10 "
        "{overlap:.3f}; a random fifth gives {random:.3f}, none {none:.3f} (serve: fallback=teacher "
        "fallback_below={below:.3f}).",
        overlap=fifth.overlap,
        random=fifth.random,
        none=figures.true_mean,
        below=fifth.below,
    )


def calibration_words(figures: ConfidenceFigures) -> str | None:
    """Where the head is too sure or not sure enough; `None` where it is about right."""
    if figures.told_mean is None or figures.true_mean is None:
        return None
    off = figures.told_mean - figures.true_mean
    if abs(off) < OVERSTATES:
        return None
    return say(TOO_SURE if off > 0 else NOT_SURE_ENOUGH, told=figures.told_mean, true=figures.true_mean)


def confidence_words(figures: ConfidenceFigures) -> list[str]:
    """All that there is to say."""
    return [routing_words(figures), *filter(None, [calibration_words(figures)])]
