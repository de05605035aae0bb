"""Carry out a plan: fit the head, complete what was fitted, and compare it with its rivals."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alignkit.artifact import CONFIDENCE, QUERY_HEAD, WHITENING, Artifact, save_artifact
from alignkit.estimator.plan import Plan
from alignkit.estimator.training_report import evaluate_training
from alignkit.estimator.updating import PARTS, Update
from alignkit.evaluation.before import Before
from alignkit.evaluation.embedding_time import EmbeddingTime
from alignkit.evaluation.floor_heads import mean_head
from alignkit.evaluation.result import Result
from alignkit.evaluation.student_record import StudentRecord
from alignkit.evaluation.training_history import Cost, TrainingHistory
from alignkit.heads.base import Head, Part
from alignkit.heads.kept_moments import go_on
from alignkit.heads.linear import LinearHead
from alignkit.pairs.base import PairSplits
from alignkit.reporting.metrics_file import rows_json
from alignkit.runs.earlier_fit import MOMENTS, EarlierFit, Solved, pair_fingerprints
from alignkit.runs.table_report import TableReport
from alignkit.runs.training_sample import TrainingSample
from alignkit.training.capacity import placed
from alignkit.training.confidence_fit import fit_confidence
from alignkit.training.fit import FitResult
from alignkit.training.solver_batches import SolverBatches
from alignkit.training.team import ALONE, Team
from alignkit.training.whitening_choice import choose_whitening

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """What training gave.

    Attributes:
        artifact: the head, with what is known of it.
        baselines: `ridge` and `mean` of the same pairs.
        result: of the test split.
        sample: of the training pairs.
        fit: the head as it was fitted, and how.
        update: whose pairs the head was fitted on too, where there is one.
    """

    artifact: Artifact
    baselines: Mapping[str, Head]
    result: Result
    sample: TrainingSample
    fit: FitResult
    update: Update | None = None

    @property
    def validation(self) -> Mapping[str, float]:
        """Figures of the kept state on the validation split, by name."""
        return self.fit.figures


def carry_out(
    plan: Plan, splits: PairSplits, *, leaks: str, resume: bool = False, seconds: Mapping[str, float] | None = None
) -> Trained | None:
    """Fit, then compare with the rivals on the test split.

    Args:
        plan: of `make_plan`.
        splits: the pairs that it was checked against.
        leaks: what the leak check said.
        resume: go on from the newest checkpoint in the plan's run folder.
        seconds: what was spent before, by step.

    Returns:
        `None` in all but the first of several processes.
    """
    splits = placed(splits, plan.fitter.device.torch_device)  # once for the fit and for what follows
    fit = plan.fitter.fit(splits, refit=plan.settings["refit"], resume=resume)
    start = time.perf_counter()
    ridge = _ridge(plan, splits, fit, fit.team)
    if ridge is None:
        return None
    clock = {**(seconds or {}), "baselines": time.perf_counter() - start}
    return complete(plan, splits, fit, leaks=leaks, seconds=clock, ridge=ridge)


def complete(
    plan: Plan,
    splits: PairSplits,
    fit: FitResult,
    *,
    leaks: str,
    seconds: Mapping[str, float] | None = None,
    embedding: Mapping[str, EmbeddingTime] | None = None,
    before: Before | None = None,
    record: Callable[[Artifact], StudentRecord] | None = None,
    table: TableReport | None = None,
    ridge: tuple[Head, Solved | None] | None = None,
) -> Trained:
    """Put together all that belongs to a head, however it was fitted, and compare it with its rivals on the test split.

    Args:
        plan: its settings say what belongs to the head; `head/` is saved in its run folder first of all.
        splits: the pairs, with the vectors of the student that the head was fitted to.
        fit: the head, before and after its refit.
        leaks: what the leak check said.
        seconds: what was spent before, by step.
        embedding: what a query costs both models, where they are there to be timed.
        before: the student before it was trained with the head, where it was.
        record: says how the student was trained, given the head.
        table: how the student was made out of its teacher, where it was.
        ridge: the baseline and its sums, where they are there already.
    """
    settings, clock = plan.settings, {**(seconds or {}), **fit.seconds}
    start, mean, device = time.perf_counter(), fit.teacher_mean, plan.fitter.device.torch_device
    splits = placed(splits, device)
    rival, of_ridge = ridge or _ridge(plan, splits, fit, ALONE)  # type: ignore[misc]
    baselines = {"ridge": rival, "mean": mean_head(splits.train.student_dim, mean)}
    clock["baselines"] = clock.get("baselines", 0.0) + time.perf_counter() - start
    parts: dict[str, Part] = {QUERY_HEAD: fit.head}
    whitened, update = None, plan.update
    taken_over = update is not None and update.decides_better(splits)
    if update is not None and taken_over:
        parts |= update.parts([part for setting, part in PARTS.items() if settings.get(setting)])
        whitened = update.whitening_record() if settings.get("whiten_by") else None
    if settings.get("whiten_by") and not taken_over:  # a run that an older version began has no such setting
        start = time.perf_counter()
        whitening = choose_whitening(fit.kept, splits, settings["whiten_by"], settings["seed"], device)
        whitened = whitening.about
        parts |= {} if whitening.part is None else {WHITENING: whitening.part}
        clock["whitening"] = time.perf_counter() - start
    if settings.get("confidence") and not taken_over:
        start = time.perf_counter()
        sure = fit_confidence(Artifact({**parts, QUERY_HEAD: fit.kept}).query_head, splits, settings["seed"], device)
        parts |= {} if sure is None else {CONFIDENCE: sure}
        clock["confidence"] = time.perf_counter() - start
    history = replace(_history(plan, fit, clock), whitening=whitened)
    artifact = Artifact(parts, splits.origin.student_identity, splits.origin.teacher_identity, meta=history.to_json())
    if plan.fitter.run_folder is not None:  # first of all: what follows may fail, and took no training
        save_artifact(artifact, plan.fitter.run_folder / "head")
        if fit.moments is not None and of_ridge is not None:
            _keep(plan, splits, fit, of_ridge, plan.fitter.run_folder)
    sample = TrainingSample.of(splits, settings["seed"])
    if update is not None:
        sample = update.sample(sample, len(splits.train))
    judged = evaluate_training(
        artifact, baselines, splits, sample,
        teacher_mean=mean, leaks=leaks, history=history, seed=settings["seed"],
        embedding=embedding, before=before, student=None if record is None else record(artifact),
        table=table, device=device,
    )  # fmt: skip
    artifact = replace(artifact, metrics=rows_json(judged))
    return Trained(artifact, baselines, judged, sample, fit, update)


def _history(plan: Plan, fit: FitResult, seconds: Mapping[str, float]) -> TrainingHistory:
    return TrainingHistory(
        model=fit.head.kind(),
        chosen=dict(fit.chosen),
        best_epoch=fit.best_epoch,
        epochs=fit.epochs,
        ended=fit.ended,
        refitted=fit.refitted,
        recipe={**vars(plan.fitter.recipe), "batch_size": fit.batch_size or plan.fitter.recipe.batch_size},
        cost=Cost(**fit.head.cost()),
        selection=plan.settings.get("selection"),
        device=plan.fitter.device.reason,
        validation=dict(fit.figures),
        seed=plan.settings["seed"],
        seconds=seconds,
    )


def _keep(plan: Plan, splits: PairSplits, fit: FitResult, ridge: Solved, run: Path) -> None:
    """Keep the sums in the run folder, so that pairs can be added to them."""
    if fit.moments is None:
        return
    moments = fit.moments
    if not fit.refitted and (plan.update is None or plan.update.adds):  # the sums are of all pairs in any case
        moments = moments.with_pairs(SolverBatches(splits.validation, device=plan.fitter.device.torch_device))
    pairs, validation = pair_fingerprints(splits.train, splits.validation), len(splits.validation)
    if plan.update is not None:
        earlier, validation = plan.update.earlier, max(plan.update.earlier.validation, validation)
        pairs = np.concatenate([earlier.pairs, pairs]) if plan.update.adds else earlier.pairs
    head = Solved(moments, fit.chosen)
    kept = EarlierFit(fit.head.kind(), fit.head.arguments(), head, ridge, pairs, validation)
    size = kept.save(run)
    logger.info("kept: sums over %s pairs, %.1f MB, in %s", f"{len(pairs):,}", size / 1e6, run / MOMENTS)


def _ridge(plan: Plan, splits: PairSplits, fit: FitResult, team: Team) -> tuple[Head, Solved | None] | None:
    """The baseline that every head must beat: λ chosen on validation, solved on train + validation.

    Beside it the sums that it was solved from, where they are kept; `None` in all but the first of the team.
    """
    device = plan.fitter.device.torch_device
    same = fit.head.kind() == "linear" and plan.fitter.init == "closed_form" and fit.best_epoch == 0
    same = same and fit.refitted and plan.settings["model"].get("ridge_lambda") is None

    def solve(train: SolverBatches) -> tuple[Head, Solved | None]:
        if same:  # files larger than memory are not read again for it
            return fit.head, None if fit.moments is None else Solved(fit.moments, fit.chosen)
        ridge = LinearHead(splits.train.student_dim, splits.train.teacher_dim)
        held_out, update = SolverBatches(splits.validation, device=device), plan.update
        if update is None and fit.ridge is not None:
            chosen, kept = fit.ridge.chosen, fit.ridge.kept
        elif update is None:
            chosen, kept = ridge.solve_keeping(train, held_out)
        else:
            earlier = update.solved_ridge(splits)
            chosen, kept = go_on(
                ridge, earlier.kept.to(device), earlier.chosen, train if update.adds else None, held_out
            )
        if update is None or update.adds:  # sums add up: only validation is read again
            chosen, kept = go_on(ridge, kept, chosen, held_out)
        solved_from = Solved(kept, chosen) if plan.fitter.keep_moments else None
        return ridge.cpu().eval().requires_grad_(False), solved_from

    return team.led([splits.train], device, solve)
