"""The table of what was tried."""

from __future__ import annotations

from typing import Any

from alignkit.metrics.intervals import Interval
from alignkit.selection.choose import Selection, Try


def selection_markdown(selection: Selection) -> str:
    """A Markdown table of all tries, cheapest first, and the reason of the choice below it."""
    lines = [
        f"| head | {selection.target} | gain over ridge | fit (s) | parameters | Mflop a query |",
        "|---|---|---|---|---|---|",
        *(_line(one, one.name == selection.name) for one in selection.tries),
        "",
        f"{selection.reason[:1].upper()}{selection.reason[1:]}. Judged on {selection.queries:,} validation sentences; "
        "brackets are 95% intervals of a paired bootstrap.",
    ]
    return "\n".join(lines)


def selection_json(selection: Selection) -> dict[str, Any]:
    """Plain JSON values, for `metrics.json` and the artifact."""
    return {
        "name": selection.name,
        "target": selection.target,
        "reason": selection.reason,
        "queries": selection.queries,
        "tries": [
            {
                "name": one.name,
                "seconds": one.seconds,
                "expected_s": one.expected_s,
                "parameters": one.parameters,
                "flops_per_query": one.flops_per_query,
                "quality": one.quality.to_json() if one.quality else None,
                "gain": one.gain.to_json() if one.gain else None,
            }
            for one in selection.tries
        ],
    }


def _line(one: Try, chosen: bool) -> str:
    name = f"**{one.name}**" if chosen else one.name
    seconds = f"{one.seconds:.1f}" if one.seconds is not None else f"not tried: about {one.expected_s:.0f}"
    numbers = (name, _interval(one.quality, ".3f"), _interval(one.gain, "+.3f"), seconds)
    return f"| {' | '.join(numbers)} | {one.parameters:,} | {one.flops_per_query / 1e6:.2f} |"


def _interval(interval: Interval | None, digits: str) -> str:
    if interval is None:
        return ""
    return f"{interval.value:{digits}} [{interval.low:{digits}}, {interval.high:{digits}}]"
