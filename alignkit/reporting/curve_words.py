"""What more training pairs would probably bring, in words."""

from __future__ import annotations

from alignkit.evaluation.result import Result
from alignkit.language.speaking import say, told

WORTH_COLLECTING = 0.01


def curve_words(result: Result) -> str:
    """Empty where no curve was asked for."""
    curve, measure = result.curve, say(result.measure.heading)
    if curve is None:
        return ""
    values = {"measure": measure, "all": curve.figures[-1], "pairs": curve.pairs[-1]}
    if len(curve.pairs) > 1:
        reached = say(
            "A closed-form head reaches {measure} {all:.3f} with all {pairs:,} training pairs and {half:.3f} with half "
            "of them.",
            half=curve.figures[-2],
            **values,
        )
    else:
        reached = say("A closed-form head reaches {measure} {all:.3f} with all {pairs:,} training pairs.", **values)
    calls = say("{calls:,} more calls of the teacher", calls=curve.calls)
    if curve.cost is not None:
        calls = say("{calls}: {cost}", calls=calls, cost=told(curve.cost.words(curve.calls)))
    if curve.forecast is None:
        return say("{reached} Twice as many take {calls}.", reached=reached, calls=calls)
    gain = curve.forecast - curve.figures[-1]
    worth = "worth collecting" if gain >= WORTH_COLLECTING else "more pairs are not what is missing"
    return say(
        "{reached} Twice as many would probably bring {gain:+.3f}, if the curve goes on flattening as it did: {worth}. "
        "That takes {calls}.",
        reached=reached,
        gain=gain,
        worth=say(worth),
        calls=calls,
    )
