"""How a head was trained, in lines for the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignkit.evaluation.result import Result
from alignkit.evaluation.same_models import model_name
from alignkit.evaluation.training_history import TrainingHistory
from alignkit.language.speaking import say, told
from alignkit.pairs.base import Origin
from alignkit.reporting.verdict_words import difference
from alignkit.selection.record import Selection
from alignkit.setting_names import SIDES


def training_words(result: Result, history: TrainingHistory) -> list[str]:
    """Pairs, head, what was tried and kept, recipe, models, device, time."""
    pairs, versions, origin = result.about.pairs or {}, result.about.versions or {}, result.origin
    chosen = ", ".join(f"{name} = {_number(value)}" for name, value in history.chosen.items()) or say("nothing")
    kept = kept_words(history.best_epoch, history.epochs, history.ended)
    return [
        say(
            "{train:,} training and {validation:,} validation pairs",
            train=pairs.get("train", 0),
            validation=pairs.get("validation", 0),
        ),
        say(
            "head: {model}; {parameters:,} parameters, {mflop:.2f} Mflop a query; chosen on validation: {chosen}",
            model=history.model,
            parameters=history.cost.parameters,
            mflop=history.cost.flops_per_query / 1e6,
            chosen=chosen,
        ),
        *(_selection_words(Selection.from_json(history.selection)) if history.selection else []),
        *([] if history.whitening is None else [say("whitening: {reason}", reason=told(history.whitening.reason))]),
        say(
            "kept: {kept}, then fitted once more on train + validation" if history.refitted else "kept: {kept}",
            kept=kept,
        ),
        say("recipe: {settings}", settings=_named(history.recipe)),
        *(
            say(
                "{side}: {model}{context}",
                side=say(side),
                model=told(model_name(origin.identity(side))),
                context=cut_words(origin, side),
            )
            for side in SIDES
        ),
        say("device: {device}", device=told(history.device)),
        say("seconds: {steps}", steps=", ".join(f"{step} {value:.1f}" for step, value in history.seconds.items())),
        say("seed {seed}; {versions}", seed=history.seed, versions=_named(versions)),
    ]


def cut_words(origin: Origin, side: str) -> str:
    """How much of a text the model reads, and whether there were longer ones."""
    cut = (origin.cut or {}).get(side)
    if cut is None:
        return ""
    context = say("a context of {tokens:,} tokens", tokens=cut.context) if cut.context else None
    if not cut.sentences:
        return say(", {context}", context=context) if context else ""
    return say(
        "; {count:,} of the sentences are longer than {context}: their vectors cover only their beginnings",
        count=cut.sentences,
        context=context or say("its context"),
    )


def kept_words(best: float, trained: float, ended: str | None) -> str:
    """Which state was kept, and why training ended where it ended early."""
    if not trained:
        kept = say("the starting point, untrained")
    elif not best:
        kept = say("the starting point: training did not improve on it")
    elif best == int(best):
        kept = say("epoch {epoch}", epoch=best)
    else:
        kept = say("the state after {epochs:.3g} epochs", epochs=best)
    if not ended:
        return kept
    return say("{kept}; training ended after {epochs:.3g} epochs: {why}", kept=kept, epochs=trained, why=told(ended))


def _selection_words(selection: Selection) -> list[str]:
    """What `model=auto` tried."""
    lines = [
        say(
            "chosen by model=auto on {queries:,} validation sentences: {reason}",
            queries=selection.queries,
            reason=told(selection.reason),
        )
    ]
    for one in selection.tries:
        if one.seconds is None:
            expected = say(
                "not tried: {head}, expected to take about {time:,.0f} s", head=one.name, time=one.expected_s
            )
            lines.append(expected)
            continue
        worth = []
        if one.alike is not None and one.unlike is not None:
            alike = "{alike:.3f} on held-out texts, {unlike:.3f} on held-out clusters"
            worth.append(say(alike, alike=one.alike, unlike=one.unlike))
        if one.quality is not None:
            figure = "{target} {value:.3f} (95% interval {low:.3f} to {high:.3f})"
            worth.append(say(figure, target=selection.target, **vars(one.quality)))
        if one.gain is not None:
            worth.append(say("gain over ridge {gain}", gain=difference(one.gain)))
        took = say("{parameters:,} parameters, {time:.1f} s", parameters=one.parameters, time=one.seconds)
        lines.append(say("tried: {head}, {worth}", head=one.name, worth=say(", ").join([*worth, took])))
    return lines


def _named(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _number(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
