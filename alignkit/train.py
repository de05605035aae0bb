"""Train a head that maps the student's vectors into the teacher's space, and say what it is worth."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from alignkit.artifact import CONFIDENCE, QUERY_HEAD, Artifact, save_artifact
from alignkit.commandline import build, command, conf_folder, group_choices, plain, without_secrets
from alignkit.commandline.resumed import config_yaml, resume_command, settings_of_run
from alignkit.commandline.words import as_given
from alignkit.errors import AlignkitError, ConfigError
from alignkit.evaluation.alignment import mean_head
from alignkit.evaluation.console import console_words
from alignkit.evaluation.leaks import leaks_of_splits
from alignkit.evaluation.settings import check_seed
from alignkit.evaluation.tables import console_table, markdown_table
from alignkit.evaluation.tensorboard import log_evaluation
from alignkit.evaluation.training_report import evaluate_training, save_run
from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.pairs.base import PairSplits
from alignkit.selection.choose import SELECT_BY, select_head
from alignkit.training.batches import SolverBatches
from alignkit.training.checks import check_settings
from alignkit.training.confidence import fit_confidence
from alignkit.training.device import choose_device
from alignkit.training.fit import FitResult, Fitter
from alignkit.training.processes import hand_down, head_of_first_process, is_main_process
from alignkit.training.recipe import Recipe
from alignkit.training.run_folder import CONFIG, check_resumable, claim_run_folder
from alignkit.training.tensorboard import log_result

logger = logging.getLogger("alignkit.train")

EXAMPLES = (
    "python -m alignkit.train model=linear loss=cos_mse",
    "python -m alignkit.train data=vectors data.student=student.npy data.teacher=teacher.npy",
    "python -m alignkit.train -m model=linear,mlp seed=0,1",
    "python -m alignkit.train resume=outputs/train/2026-01-31_12-00-00",
)


@command(
    "train",
    EXAMPLES,
    texts=("resume", "cache_dir", "objective", "schedule", "select_by"),
    run_folder=True,
)
def main(config: DictConfig) -> float | None:
    """Compose the parts, fit, report; returns the figure that a sweeper optimises."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    resume = config.resume is not None
    if resume:
        folder = Path(config.resume).expanduser()
        check_resumable(folder)
        settings = settings_of_run(folder / CONFIG, config, as_given(HydraConfig.get().overrides.task))
    else:
        settings = plain(config)
    check_seed(settings["seed"])
    check_settings(settings)
    start = time.perf_counter()
    splits = build(settings["data"])
    if not isinstance(splits, PairSplits):
        data = HydraConfig.get().runtime.choices["data"]
        raise ConfigError(
            f"data={data} is a test set without training pairs, for evaluate; train with data=demo, vectors, cached or "
            "built"
        )
    leaks = leaks_of_splits(splits)
    seconds = {"loading": time.perf_counter() - start}
    if "candidates" in settings["model"]:
        settings |= _select_model(settings, splits)
    fitter = _fitter(settings, settings["model"], folder)
    fitter.check(splits)
    if is_main_process() and not resume:
        claim_run_folder(folder, config_yaml(settings))
    logger.info("device: %s", fitter.device.reason)
    try:
        result = fitter.fit(splits, refit=settings["refit"], resume=resume)
        if not result.is_main_process:
            return None
        _finish(folder, settings, fitter, splits, result, leaks, {**seconds, **result.seconds})
    except KeyboardInterrupt:
        raise AlignkitError(f"interrupted; go on with: {resume_command(folder, settings)}") from None
    return result.figures.get(settings["objective"])


def _fitter(settings: Mapping[str, Any], model: Mapping[str, Any], folder: Path | None) -> Fitter:
    """What to fit and how: the recipes of head and loss, overlaid by what the command line says."""
    head, loss, trainer = dict(model), dict(settings["loss"]), dict(settings["trainer"])
    init = head.pop("init")
    recipe = Recipe().overlay(head.pop("recipe", None), init).overlay(loss.pop("recipe", None), init)
    own = Recipe.__dataclass_fields__
    recipe = recipe.overlay({name: settings[name] for name in own if name in settings})
    recipe = recipe.overlay({name: trainer.pop(name) for name in own if name in trainer})
    return Fitter(
        init=init,
        make_head=build(head),
        loss=build(loss),
        recipe=recipe,
        device=choose_device(settings["device"]["name"], recipe.precision),
        seed=settings["seed"],
        run_folder=folder,
        trainer_settings=trainer,
    )


def _select_model(settings: Mapping[str, Any], splits: PairSplits) -> dict[str, Any]:
    """`model=auto`: settings of the head that does best within the budget, and the table of what was tried."""
    auto, known = settings["model"], [name for name in group_choices("model") if name != "auto"]
    if unknown := [name for name in auto["candidates"] if name not in known]:
        raise ConfigError(f"model.candidates: unknown head '{unknown[0]}'; choices: {', '.join(known)}")
    models = {}
    for name in auto["candidates"]:
        yaml = OmegaConf.load(conf_folder() / "model" / f"{name}.yaml")
        models[name] = plain(OmegaConf.create({"seed": settings["seed"], "model": yaml}))["model"]
    # what the head is chosen by, its training is steered by too, unless the command line says otherwise
    steered = {**settings, "select_by": settings["select_by"] or SELECT_BY.get(auto["target"])}
    if (chosen := head_of_first_process()) is not None:
        return {**_as_tried(steered, models[chosen]), "selection": None}
    fitters = {name: _fitter(steered, model, None) for name, model in models.items()}
    budget = {name: auto[name] for name in ("budget_s", "target")}
    selection = select_head(fitters, splits, **budget, seed=settings["seed"])
    logger.info("auto: %s", selection.reason)
    hand_down(selection.name)
    return {**_as_tried(steered, models[selection.name]), "selection": selection.to_json()}


def _as_tried(settings: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the chosen head: a closed form, which was tried untrained, is trained only by a loss asked for."""
    asked = any(text.startswith(("loss=", "loss.")) for text in HydraConfig.get().overrides.task)
    trainer = dict(settings["trainer"])
    if model["init"] == "closed_form" and not asked and trainer["max_epochs"] is None:
        trainer["max_epochs"] = 0
    return {"model": dict(model), "select_by": settings["select_by"], "trainer": trainer}


def _finish(
    folder: Path, settings: dict[str, Any], fitter: Fitter, splits: PairSplits, result: FitResult, leaks: str,
    seconds: dict[str, float],
) -> None:  # fmt: skip
    start, mean = time.perf_counter(), result.teacher_mean
    baselines = {"ridge": _ridge(settings, fitter, splits, result), "mean": mean_head(splits.train.student_dim, mean)}
    seconds["baselines"] = time.perf_counter() - start
    parts = {QUERY_HEAD: result.head}
    if settings.get("confidence"):  # a run that an older version began has no such setting
        start = time.perf_counter()
        sure = fit_confidence(result.kept, splits, settings["seed"])
        parts |= {} if sure is None else {CONFIDENCE: sure}
        seconds["confidence"] = time.perf_counter() - start
    history = {
        "model": result.head.kind(),
        "chosen": dict(result.chosen),
        "best_epoch": result.best_epoch,
        "epochs": result.epochs,
        "ended": result.ended,
        "refitted": result.refitted,
        "recipe": vars(fitter.recipe),
        "cost": result.head.cost(),
        "selection": settings.get("selection"),
        "device": fitter.device.reason,
        "validation": dict(result.figures),
        "seed": settings["seed"],
        "seconds": seconds,
    }
    identities = {name: splits.meta[name] for name in ("student_identity", "teacher_identity")}
    artifact = Artifact(parts, **identities, meta=history)
    save_artifact(artifact, folder / "head")  # first of all: what follows may fail, and took no training
    evaluation = evaluate_training(
        artifact, baselines, splits, teacher_mean=mean, leaks=leaks, history=history, seed=settings["seed"]
    )
    figures = {name: value for name, value in evaluation.rows["aligned"].items() if value is not None}
    artifact = replace(artifact, metrics=dict(evaluation.rows))
    tagged = {f"test/{name}": value for name, value in figures.items()}
    cosines = torch.from_numpy(evaluation.comparison.cosines["aligned"])
    save_run(folder, artifact, baselines, splits, evaluation, html=settings["html"])
    try:
        log_evaluation(evaluation, folder)
        log_result(folder, without_secrets(settings), cosines, markdown_table(evaluation.rows), tagged)
    except OSError as error:
        logger.warning("%s: TensorBoard's events could not be written (%s)", folder, error.strerror)
    console = Console(width=None if sys.stdout.isatty() else 80)
    console.print(console_table(evaluation.rows, f"Test split, {len(splits.test):,} pairs"))
    console.print()
    for line in console_words(evaluation):
        console.print(line, highlight=False, markup=False)
    console.print(f"\nhead and report: {folder}", soft_wrap=True, highlight=False)


def _ridge(settings: Mapping[str, Any], fitter: Fitter, splits: PairSplits, result: FitResult) -> Head:
    """What any head must beat: λ chosen on validation, solved on both splits."""
    solved = result.head.kind() == "linear" and fitter.init == "closed_form" and result.best_epoch == 0
    if solved and result.refitted and settings["model"].get("ridge_lambda") is None:
        return result.head  # the very same: files larger than memory are not read again for it
    ridge = LinearHead(splits.train.student_dim, splits.train.teacher_dim)
    parts = ([splits.train], [splits.validation], [splits.train, splits.validation])
    train, held_out, together = (SolverBatches(*pairs, device=fitter.device.torch_device) for pairs in parts)
    ridge.solve(together, chosen=ridge.solve(train, held_out))
    return ridge.cpu().eval().requires_grad_(False)


if __name__ == "__main__":
    main()
