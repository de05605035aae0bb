"""What `train` leaves when it ends: the head, the baselines it is compared with, and the report of its test split."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alignkit import __version__
from alignkit.artifact import Artifact, save_artifact, save_head
from alignkit.evaluation.comparison import compare
from alignkit.evaluation.embedding_time import SIDES
from alignkit.evaluation.floor_heads import raw_head
from alignkit.evaluation.outcome import Evaluation
from alignkit.evaluation.query_times import query_times
from alignkit.evaluation.same_models import model_name
from alignkit.evaluation.split_figures import alignment_rows
from alignkit.evaluation.verdict import Thresholds
from alignkit.heads.base import Head
from alignkit.pairs.base import PairSplits
from alignkit.pairs.evaluation_set import set_of_pairs
from alignkit.reporting.report_files import write_report
from alignkit.runs.fingerprints import save_fingerprints
from alignkit.runs.training_sample import TrainingSample


def evaluate_training(
    artifact: Artifact,
    baselines: Mapping[str, Head],
    splits: PairSplits,
    *,
    teacher_mean: Tensor,
    leaks: str,
    history: Mapping[str, Any],
    seed: int = 0,
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Compare the head with its rivals on the test split, and show the training split's figures beside them.

    Args:
        artifact: the head that was trained.
        baselines: `ridge` and `mean`.
        splits: the pairs.
        teacher_mean: `(teacher_dim,)` of the training split.
        leaks: what the leak check said.
        history: how the head came about, plain JSON values: `model`, `chosen`, `best_epoch`, `refitted`, `recipe`,
            `device`, `seconds` ...
        seed: of the random projection, samples and bootstrap.
        thresholds: of the verdict.
    """
    test = set_of_pairs(splits.test, splits.origin, seed=seed)
    unlike = TrainingSample.of(splits, seed).unlike(test.queries.student)
    comparison = compare(test, artifact, baselines, thresholds=thresholds, seed=seed, unlike=unlike)
    raw = raw_head(artifact.head.student_dim, artifact.head.teacher_dim, seed)
    heads = {"aligned": artifact.head, "ridge": baselines["ridge"], "raw": raw}
    times = query_times(test, heads, comparison.meta["cascade"])
    train_rows = alignment_rows({"aligned": artifact.head}, splits.train, teacher_mean, seed)
    versions = {"alignkit": __version__, "torch": torch.__version__, "python": platform.python_version()}
    about = {
        **history,
        "leaks": leaks,
        "timed": dict.fromkeys(SIDES, "not timed: train calls no model; evaluate does"),
        "pairs": {"train": len(splits.train), "validation": len(splits.validation), "test": len(splits.test)},
        "versions": versions,
        "training": training_words(splits, history, versions),
    }
    return Evaluation(comparison, times, about=about, other_splits={"train": train_rows})


def save_run(
    folder: Path, artifact: Artifact, baselines: Mapping[str, Head], splits: PairSplits, evaluation: Evaluation,
    *, html: bool = True,
) -> None:  # fmt: skip
    """Write `head/`, `baselines/`, what tells of the training pairs, and the report; `metrics.json` last of all."""
    save_artifact(artifact, folder / "head")
    for name, head in baselines.items():
        identities = {"student_identity": artifact.student_identity, "teacher_identity": artifact.teacher_identity}
        save_head(head, folder / "baselines" / name, **identities)
    save_fingerprints(folder, splits)
    TrainingSample.of(splits).save(folder)
    write_report(evaluation, folder, html=html)


def training_words(splits: PairSplits, history: Mapping[str, Any], versions: Mapping[str, str]) -> list[str]:
    """How the head came about, in lines for the report."""
    kept = _kept_words(history)
    again = ", then fitted once more on train + validation" if history["refitted"] else ""
    chosen = ", ".join(f"{name} = {_short(value)}" for name, value in history["chosen"].items()) or "nothing"
    recipe = ", ".join(f"{name} {value}" for name, value in history["recipe"].items() if value is not None)
    return [
        f"{len(splits.train):,} training and {len(splits.validation):,} validation pairs",
        f"head: {history['model']}; {history['cost']['parameters']:,} parameters, "
        f"{history['cost']['flops_per_query'] / 1e6:.2f} Mflop a query; chosen on validation: {chosen}",
        *_selection_words(history.get("selection")),
        f"kept: {kept}{again}",
        f"recipe: {recipe}",
        *(f"{name}: {model_name(splits.origin.identity(name))}{cut_words(splits, name)}" for name in SIDES),
        f"device: {history['device']}",
        "seconds: " + ", ".join(f"{name} {value:.1f}" for name, value in history["seconds"].items()),
        f"seed {history['seed']}; " + ", ".join(f"{name} {version}" for name, version in versions.items()),
    ]


def cut_words(splits: PairSplits, name: str) -> str:
    """How much of a text the model reads, and whether there were longer ones."""
    cut = (splits.origin.cut or {}).get(name)
    context = f"a context of {cut.context:,} tokens" if cut and cut.context else ""
    if cut is None or not cut.sentences:
        return f", {context}" if context else ""
    longer = f"{cut.sentences:,} of the sentences are longer than {context or 'its context'}"
    return f"; {longer}: their vectors are of their beginnings"


def _kept_words(history: Mapping[str, Any]) -> str:
    """Which state was kept, and why training ended where it ended early."""
    best, trained, ended = (history[name] for name in ("best_epoch", "epochs", "ended"))
    if not trained:
        kept = "the starting point, untrained"
    elif not best:
        kept = "the starting point: training did not improve on it"
    else:
        kept = f"epoch {best}" if best == int(best) else f"the state after {best:.3g} epochs"
    return f"{kept}; training ended after {trained:.3g} epochs: {ended}" if ended else kept


def _selection_words(selection: Mapping[str, Any] | None) -> list[str]:
    """What `model=auto` tried, in lines for the report."""
    if selection is None:
        return []
    lines = [f"chosen by model=auto on {selection['queries']:,} validation sentences: {selection['reason']}"]
    for one in selection["tries"]:
        if one["seconds"] is None:
            lines.append(f"not tried: {one['name']}, about {one['expected_s']:.0f} s were expected")
            continue
        quality, gain = one["quality"], one["gain"]
        worth = _interval(selection["target"], quality, ".3f") + _interval("gain over ridge", gain, "+.3f")
        lines.append(f"tried: {one['name']}, {worth}{one['parameters']:,} parameters, {one['seconds']:.1f} s")
    return lines


def _interval(name: str, interval: Mapping[str, float] | None, digits: str) -> str:
    if interval is None:
        return ""
    value, low, high = (f"{interval[key]:{digits}}" for key in ("value", "low", "high"))
    return f"{name} {value} (95% interval {low} to {high}), "


def _short(value: Any) -> Any:
    return f"{value:.4g}" if isinstance(value, float) else value
