"""Decides between heads that were tried: a costlier one must be significantly better. Says why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.selection.record import Selection, Try

BASELINE = "linear"


def decide(
    tries: list[Try], figures: Mapping[str, np.ndarray], cosines: Mapping[str, np.ndarray], target: str,
    budget_s: float, seed: int,
) -> Selection:  # fmt: skip
    """Take ridge regression, or the cheapest head that is surely better.

    Args:
        tries: in the order of their cost.
        figures: name → the target for each text, of the heads that were tried.
        cosines: the same texts' cosines with the teacher.
        target: as in `select_head`.
        budget_s: that there was for all tries.
        seed: of the bootstrap.
    """
    bootstrap, nearness = PairedBootstrap(figures, seed=seed), PairedBootstrap(cosines, seed=seed)
    best, nearer = BASELINE, None
    judged = []
    for one in tries:
        if one.name not in figures:
            judged.append(one)
            continue
        gain = bootstrap.difference(one.name, BASELINE) if one.name != BASELINE else None
        judged.append(replace(one, quality=bootstrap.mean(one.name), gain=gain))
        over_best, closer = bootstrap.difference(one.name, best), nearness.difference(one.name, best)
        if one.name == best or over_best is None:
            continue
        if over_best.low > 0:
            best, nearer = one.name, None
        elif over_best.value >= 0 and closer is not None and closer.low > 0:
            best, nearer = one.name, closer
    reason = _reason(best, judged, target, budget_s) if bootstrap.count else _nothing_judged(target)
    reason += _nearer_words(nearer)
    reason += _unlike_words(next(one for one in judged if one.name == best), target) + _clock_words(judged, budget_s)
    return Selection(best, target, tuple(judged), reason, bootstrap.count)


def _nearer_words(nearer: Interval | None) -> str:
    """What decided where the target could not tell two heads apart."""
    if nearer is None:
        return ""
    return (
        f"; it is chosen over a cheaper head for its cosine with the teacher, {nearer.value:+.3f} "
        f"({nearer.low:+.3f} to {nearer.high:+.3f})"
    )


def _unlike_words(chosen: Try, target: str) -> str:
    """What was measured on held-out texts, and that it is no promise for others.

    Clusters held out whole are still of the training texts' source. Heads fitted on general sentences, the static
    student: overlap@10 .43 on texts like them, .40 on clusters held out whole, .36 on the queries of a FAQ.
    """
    if chosen.alike is None or chosen.unlike is None:
        return ""
    return (
        f"; {target} is {chosen.alike:.3f} on held-out texts and {chosen.unlike:.3f} on clusters held out whole; "
        "expect less on texts from elsewhere"
    )


def _clock_words(tries: list[Try], budget_s: float) -> str:
    """What the time budget decided, in which case the same seed may choose another head."""
    late = [one for one in tries if one.seconds is None]
    if not late:
        return ""
    names = ", ".join(f"{one.name} (about {one.expected_s:.0f} s)" for one in late)
    return (
        f"; not tried for lack of time: {names}. The clock had a part in this choice: another run with this seed may "
        f"choose another head, unless budget_s is raised from {budget_s:g} until all are tried"
    )


def _nothing_judged(target: str) -> str:
    return (
        f"no head could be judged: {target} is undefined for all validation sentences; ridge regression is the cheapest"
    )


def _reason(best: str, tries: list[Try], target: str, budget_s: float) -> str:
    tried = [one for one in tries if one.seconds is not None]
    if len(tried) == 1 and len(tries) > 1:
        return f"the budget of {budget_s:g} s is enough for ridge regression alone; give budget_s= more for other heads"
    chosen = next((one for one in tried if one.name == best), None)
    if chosen is None or chosen.gain is None:  # ridge regression has no gain over itself
        return f"no head's gain in {target} over ridge regression is beyond noise; ridge regression is the cheapest"
    text = (
        f"{best} gains {chosen.gain.value:+.3f} {target} over ridge regression "
        f"(95% interval {chosen.gain.low:+.3f} to {chosen.gain.high:+.3f})"
    )
    dearer = [
        one.name for one in tried
        if one.flops_per_query > chosen.flops_per_query and one.quality and chosen.quality
        and one.quality.value >= chosen.quality.value
    ]  # fmt: skip
    return f"{text}; {', '.join(dearer)} is not surely better and costs more" if dearer else text
