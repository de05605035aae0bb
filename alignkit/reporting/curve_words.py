"""What more training pairs would probably bring, in words."""

from __future__ import annotations

from alignkit.evaluation.result import Result

WORTH_COLLECTING = 0.01


def curve_words(result: Result) -> str:
    """Empty where no curve was asked for."""
    curve, measure = result.curve, result.measure.heading
    if curve is None:
        return ""
    said = f"A closed-form head reaches {measure} {curve.figures[-1]:.3f} with all {curve.pairs[-1]:,} training pairs"
    if len(curve.pairs) > 1:
        said += f" and {curve.figures[-2]:.3f} with half of them"
    cost = "" if curve.cost is None else f": {curve.cost.words(curve.calls)}"
    calls = f"{curve.calls:,} more calls of the teacher{cost}"
    if curve.forecast is None:
        return f"{said}. Twice as many take {calls}."
    gain = curve.forecast - curve.figures[-1]
    worth = "worth collecting" if gain >= WORTH_COLLECTING else "more pairs are not what is missing"
    return (
        f"{said}. Twice as many would probably bring {gain:+.3f}, if the curve goes on flattening as it did: {worth}. "
        f"That takes {calls}."
    )
