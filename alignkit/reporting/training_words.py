"""How a head was trained, in lines for the report."""

from __future__ import annotations

from typing import Any

from alignkit.evaluation.result import Result
from alignkit.evaluation.same_models import model_name
from alignkit.evaluation.training_history import TrainingHistory
from alignkit.metrics.intervals import Interval
from alignkit.pairs.base import Origin
from alignkit.selection.record import Selection
from alignkit.setting_names import SIDES


def training_words(result: Result, history: TrainingHistory) -> list[str]:
    """Pairs, head, what was tried and kept, recipe, models, device, time."""
    pairs, versions, origin = result.about.pairs or {}, result.about.versions or {}, result.origin
    again = ", then fitted once more on train + validation" if history.refitted else ""
    chosen = ", ".join(f"{name} = {_number(value)}" for name, value in history.chosen.items()) or "nothing"
    recipe = ", ".join(f"{name} {value}" for name, value in history.recipe.items() if value is not None)
    cost = history.cost
    return [
        f"{pairs.get('train', 0):,} training and {pairs.get('validation', 0):,} validation pairs",
        f"head: {history.model}; {cost.parameters:,} parameters, {cost.flops_per_query / 1e6:.2f} Mflop a "
        f"query; chosen on validation: {chosen}",
        *(_selection_words(Selection.from_json(history.selection)) if history.selection else []),
        *([] if history.whitening is None else [f"whitening: {history.whitening.reason}"]),
        f"kept: {kept_words(history.best_epoch, history.epochs, history.ended)}{again}",
        f"recipe: {recipe}",
        *(f"{side}: {model_name(origin.identity(side))}{cut_words(origin, side)}" for side in SIDES),
        f"device: {history.device}",
        "seconds: " + ", ".join(f"{step} {value:.1f}" for step, value in history.seconds.items()),
        f"seed {history.seed}; " + ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]


def cut_words(origin: Origin, side: str) -> str:
    """How much of a text the model reads, and whether there were longer ones."""
    cut = (origin.cut or {}).get(side)
    context = f"a context of {cut.context:,} tokens" if cut and cut.context else ""
    if cut is None or not cut.sentences:
        return f", {context}" if context else ""
    longer = f"{cut.sentences:,} of the sentences are longer than {context or 'its context'}"
    return f"; {longer}: their vectors cover only their beginnings"


def kept_words(best: float, trained: float, ended: str | None) -> str:
    """Which state was kept, and why training ended where it ended early."""
    if not trained:
        kept = "the starting point, untrained"
    elif not best:
        kept = "the starting point: training did not improve on it"
    else:
        kept = f"epoch {best}" if best == int(best) else f"the state after {best:.3g} epochs"
    return f"{kept}; training ended after {trained:.3g} epochs: {ended}" if ended else kept


def _selection_words(selection: Selection) -> list[str]:
    """What `model=auto` tried."""
    lines = [f"chosen by model=auto on {selection.queries:,} validation sentences: {selection.reason}"]
    for one in selection.tries:
        if one.seconds is None:
            lines.append(f"not tried: {one.name}, expected to take about {one.expected_s:,.0f} s")
            continue
        worth = ""
        if one.alike is not None and one.unlike is not None:
            worth = f"{one.alike:.3f} on held-out texts, {one.unlike:.3f} on held-out clusters, "
        worth += _interval(selection.target, one.quality, ".3f") + _interval("gain over ridge", one.gain, "+.3f")
        lines.append(f"tried: {one.name}, {worth}{one.parameters:,} parameters, {one.seconds:.1f} s")
    return lines


def _interval(name: str, interval: Interval | None, digits: str) -> str:
    if interval is None:
        return ""
    return f"{name} {interval.value:{digits}} (95% interval {interval.low:{digits}} to {interval.high:{digits}}), "


def _number(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
