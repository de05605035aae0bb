"""What a head's confidence is worth, in sentences."""

from __future__ import annotations

from alignkit.evaluation.confidence_figures import ConfidenceFigures

OVERSTATES = 0.05
NOTHING = "No query has a teacher's neighbour to find, so nothing can be said of the confidence."


def routing_words(figures: ConfidenceFigures) -> str:
    """What sending the least sure fifth of the queries to the teacher brings."""
    fifth = next((one for one in figures.routing if one.share == 0.2), None)
    if fifth is None or fifth.below is None or figures.true_mean is None:
        return NOTHING
    return (
        f"Sending the fifth of the queries of which the head is least sure to the teacher gives overlap@10 "
        f"{fifth.overlap:.3f}; a random fifth gives {fifth.random:.3f}, none {figures.true_mean:.3f} "
        f"(serve: fallback=teacher fallback_below={fifth.below:.3f})."
    )


def calibration_words(figures: ConfidenceFigures) -> str | None:
    """Where the head is too sure or not sure enough; `None` where it is about right."""
    if figures.told_mean is None or figures.true_mean is None:
        return None
    off = figures.told_mean - figures.true_mean
    if abs(off) < OVERSTATES:
        return None
    return (
        f"On average the head expects {figures.told_mean:.3f} and finds {figures.true_mean:.3f}: it is "
        f"{'too sure' if off > 0 else 'not sure enough'}. These texts or this corpus may differ from those that "
        "it learned from; trust the order of its confidence, not the values."
    )


def confidence_words(figures: ConfidenceFigures) -> list[str]:
    """All that there is to say."""
    return [routing_words(figures), *filter(None, [calibration_words(figures)])]
