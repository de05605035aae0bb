"""Chooses a head: tries them within a time budget, quickest first; a costlier one must be significantly better."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from alignkit.artifact import QUERY_HEAD, WHITENING, Artifact
from alignkit.errors import ConfigError
from alignkit.heads.base import Head
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.intervals import Interval, PairedBootstrap
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.views import take_pairs
from alignkit.selection.record import Selection, Try
from alignkit.selection.targets import NO_LABELS, TARGETS, figures_of, mean_of_known
from alignkit.selection.unlike import cluster_rows
from alignkit.setting_rules import check, number_above, one_of
from alignkit.training.fit import Fitter
from alignkit.training.whitening_choice import SELF_MRR, choose_whitening

logger = logging.getLogger(__name__)

BASELINE = "linear"
HELD_OUT_SHARE = 0.1
# the training figure for each target that chose a head; recall is not measured during training
SELECT_BY = {
    "overlap@10": "val/overlap@10",
    "self_mrr": "val/self_mrr",
    "cosine": "val/cosine_mean",
    "recall@10": "val/overlap@10",
}
HOLD_OUT = ("both", "random")
RULES = {"budget_s": number_above(0), "target": one_of(TARGETS), "hold_out": one_of(HOLD_OUT)}
# with fewer training pairs, none are held out as texts unlike the others
ENOUGH_FOR_CLUSTERS = 1_000
# with fewer validation texts, heads are judged on parts of the train split too: 30 cannot tell two heads apart whose
# overlap@10 differs by .02
ENOUGH_QUERIES, FOLDS = 60, 5
# arguments of Lightning's Trainer that start further processes
SEVERAL_PROCESSES = ("devices", "strategy", "num_nodes")


def select_head(
    candidates: Mapping[str, Fitter],
    splits: PairSplits,
    *,
    budget_s: float = 120.0,
    target: str = "overlap@10",
    hold_out: str = "both",
    seed: int = 0,
) -> Selection:
    """Try heads on the train split, choose on the validation split; the test split is not looked at.

    What a head chooses for itself (λ, the best epoch) it chooses on pairs held out of the train split, so the
    validation split only decides between heads. With enough pairs, whole clusters of the student's space are
    held out of the train split too, and a head is judged on both, so that texts unlike the training ones count equally.
    With few validation texts, which cannot tell heads apart, each is also fitted `FOLDS` times more, and judged on the
    part of the train split that was left out.
    A head replaces a cheaper one only if the 95% interval of the paired difference is above 0, or, where the target is
    no worse, that of the cosine, which is less noisy. Ridge regression is always tried.

    Args:
        candidates: name → how it is fitted; must hold `linear`. Heads whose closed form sets all weights are tried
            untrained.
        splits: the pairs.
        budget_s: seconds for all tries; a head that does not fit into the remaining time is skipped.
        target: `overlap@10`, `self_mrr` (of queries whitened as they would be served), `cosine`, or `recall@10` (which
            needs labels).
        hold_out: `both`, or `random`: the validation split alone.
        seed: of the held-out pairs and the bootstrap.

    Raises:
        ConfigError: for an unknown target, a budget that is not positive, no `linear` among the candidates, or
            settings of a candidate that are incompatible with each other or with the pairs.
    """
    check({"budget_s": budget_s, "target": target, "hold_out": hold_out}, RULES, "model")
    if BASELINE not in candidates:
        raise ConfigError(f"model.candidates={list(candidates)}: expected '{BASELINE}' among them, to compare with")
    if target == "recall@10" and splits.validation.labels is None:
        raise ConfigError(NO_LABELS)
    for fitter in candidates.values():  # before the search, which takes a minute
        fitter.check(splits)
    start = time.perf_counter()
    spare = hold_out == "both" and len(splits.train) >= ENOUGH_FOR_CLUSTERS
    inner, unlike = _hold_out(splits, seed, clusters=spare)
    folds = _folds(splits, seed)
    tries, figures, cosines = [], {}, {}
    # the quickest first, so that as many as possible are tried
    plans = [replace(plan, expected_s=(1 + len(folds)) * plan.expected_s) for plan in _plans(candidates, splits)]
    plans.sort(key=lambda plan: (plan.name != BASELINE, plan.expected_s))
    for plan in plans:
        left_s = max(0.0, budget_s - (time.perf_counter() - start))
        if plan.name != BASELINE and plan.expected_s > left_s:
            logger.info("auto: %s left out, needs about %.0f s of %.0f s left", plan.name, plan.expected_s, left_s)
            tries.append(plan)
            continue
        began = time.perf_counter()
        head = _fitted(candidates[plan.name], inner, target, seed)
        rounds = [(head, splits)]
        for fitted_on, judged in folds:
            again = _fitted(candidates[plan.name], fitted_on, target, seed)
            rounds.append((again, replace(fitted_on, validation=judged)))
        alike = np.concatenate([figures_of(*one, target, seed) for one in rounds])
        cosines[plan.name] = np.concatenate([figures_of(*one, "cosine", seed) for one in rounds])
        away = None if unlike is None else figures_of(head, replace(inner, validation=unlike), target, seed)
        figures[plan.name] = alike if away is None else _balanced(alike, away, seed)
        seconds = time.perf_counter() - began
        cost = head.cost()  # a rank is known only now
        tries.append(
            replace(
                plan, seconds=seconds, parameters=cost["parameters"], flops_per_query=cost["flops_per_query"],
                alike=_known(alike), unlike=None if away is None else _known(away),
            )
        )  # fmt: skip
        logger.info("auto: %s, %s %.3f in %.1f s", plan.name, target, mean_of_known(figures[plan.name]), seconds)
    return _decide(sorted(tries, key=_cost), figures, cosines, target, budget_s, seed)


def _fitted(fitter: Fitter, pairs: PairSplits, target: str, seed: int) -> Head:
    """What maps queries, whitened where they are judged by what they find."""
    head = _alone(fitter).fit(pairs, refit=False).head
    if target != SELF_MRR:
        return head
    whitening = choose_whitening(head, pairs, seed=seed).part
    return head if whitening is None else Artifact({QUERY_HEAD: head, WHITENING: whitening}).query_head


def _cost(one: Try) -> tuple[bool, int]:
    """Sort key: the cost of a query, with ridge regression first."""
    return one.name != BASELINE, one.flops_per_query


def _plans(candidates: Mapping[str, Fitter], splits: PairSplits) -> list[Try]:
    speed = _flops_per_s(candidates[BASELINE].device.torch_device)
    plans = []
    for name, fitter in candidates.items():
        torch.manual_seed(fitter.seed)
        head = fitter.make_head(student_dim=splits.train.student_dim, teacher_dim=splits.train.teacher_dim)
        cost, count = head.cost(), len(splits.train)
        flops = head.solve_flops(count) if fitter.init == "closed_form" else 0.0
        if not fitter.is_solved:
            flops += 3.0 * cost["flops_per_query"] * count * fitter.recipe.for_pairs(count).max_epochs
        plans.append(Try(name, flops / speed, cost["parameters"], cost["flops_per_query"]))
    return plans


def _flops_per_s(device: torch.device) -> float:
    """Half the measured speed of a float32 matrix product on the fitting device: no fit sustains the full speed."""
    matrix = torch.randn(1024, 1024, device=device)
    float((matrix @ matrix)[0, 0])  # a GPU call returns early; reading a number waits for the result
    start = time.perf_counter()
    for _ in range(3):
        product = matrix @ matrix
    float(product[0, 0])
    return 0.5 * 3 * 2 * 1024**3 / (time.perf_counter() - start)


def _alone(fitter: Fitter) -> Fitter:
    """The fitter for a try: untrained if the closed form sets all weights, in this process, writing nothing.

    Several processes would have to try the same heads at the same time, but each has its own clock.
    """
    recipe = replace(fitter.recipe, max_epochs=0) if fitter.is_solved else fitter.recipe
    settings = {name: value for name, value in fitter.trainer_settings.items() if name not in SEVERAL_PROCESSES}
    return replace(fitter, recipe=recipe, run_folder=None, trainer_settings=settings)


def _hold_out(splits: PairSplits, seed: int, *, clusters: bool) -> tuple[PairSplits, Pairs | None]:
    """The pairs that a try is fitted and tuned on, and pairs unlike those, if requested."""
    unlike = None
    if clusters:
        away = cluster_rows(splits.train, seed)
        unlike = take_pairs(splits.train, away)
        splits = replace(splits, train=take_pairs(splits.train, np.setdiff1d(np.arange(len(splits.train)), away)))
    count = len(splits.train)
    order = np.random.default_rng([seed, count]).permutation(count)
    held_out = max(2, round(HELD_OUT_SHARE * count))
    train, validation = (take_pairs(splits.train, np.sort(rows)) for rows in (order[held_out:], order[:held_out]))
    return replace(splits, train=train, validation=validation), unlike


def _folds(splits: PairSplits, seed: int) -> list[tuple[PairSplits, Pairs]]:
    """Where validation texts are few: pairs to fit and tune on, and the train split's left-out part to judge on."""
    count = len(splits.train)
    if len(splits.validation) >= ENOUGH_QUERIES or count < 2 * FOLDS:
        return []
    left_out = np.array_split(np.random.default_rng([seed, count, FOLDS]).permutation(count), FOLDS)
    return [
        (
            replace(splits, train=take_pairs(splits.train, np.setdiff1d(np.arange(count), rows))),
            take_pairs(splits.train, np.sort(rows)),
        )
        for rows in left_out
    ]


def _balanced(alike: np.ndarray, away: np.ndarray, seed: int) -> np.ndarray:
    """Equally many figures of both kinds, so that both have the same weight."""
    count = min(len(alike), len(away))
    return np.concatenate([part[sample_rows(len(part), count, seed).numpy()] for part in (alike, away)])


def _known(figures: np.ndarray) -> float | None:
    mean = mean_of_known(figures)
    return mean if np.isfinite(mean) else None


def _decide(
    tries: list[Try], figures: Mapping[str, np.ndarray], cosines: Mapping[str, np.ndarray], target: str,
    budget_s: float, seed: int,
) -> Selection:  # fmt: skip
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
    """What to expect on texts unlike those that the head was fitted on."""
    if chosen.alike is None or chosen.unlike is None:
        return ""
    return (
        f"; {target} is {chosen.alike:.3f} on texts like the training ones, {chosen.unlike:.3f} on clusters held out "
        "whole: expect this on other texts"
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
