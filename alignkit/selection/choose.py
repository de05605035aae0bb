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
from alignkit.pairs.base import PairSplits
from alignkit.selection.averages import members_of, put_together
from alignkit.selection.decision import BASELINE, decide
from alignkit.selection.judged_parts import MOST_PAIRS, folds_of, held_out
from alignkit.selection.record import Selection, Try
from alignkit.selection.targets import COSINE, NO_LABELS, TARGETS, figures_of, mean_of_known
from alignkit.selection.trials import alone
from alignkit.setting_rules import check, number_above, one_of
from alignkit.training.fit import Fitter
from alignkit.training.whitening_choice import SELF_MRR, choose_whitening

logger = logging.getLogger(__name__)

# the training figure for each target that chose a head; recall is not measured during training
SELECT_BY = {
    "overlap@10": "val/overlap@10",
    "self_mrr": "val/self_mrr",
    COSINE: "val/cosine_mean",
    "recall@10": "val/overlap@10",
}
HOLD_OUT = ("both", "random")
RULES = {"budget_s": number_above(0), "target": one_of(TARGETS), "hold_out": one_of(HOLD_OUT)}


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
    part of the train split that was left out. Of many training pairs a sample is enough to tell heads apart. A
    candidate that is the average of others is put together from those.
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
    inner, unlike = held_out(splits, seed, clusters=hold_out == "both")
    folds = folds_of(splits, seed)
    parts = [inner, *(fitted_on for fitted_on, _ in folds)]
    judged = [splits, *(replace(fitted_on, validation=left_out) for fitted_on, left_out in folds)]
    tries, figures, cosines = [], {}, {}
    fitted: dict[str, list[Head]] = {}
    averages = members_of(candidates, splits)
    # the quickest first, so that as many as possible are tried; averages after what they are made of
    plans = [replace(plan, expected_s=len(parts) * plan.expected_s) for plan in _plans(candidates, inner)]
    plans.sort(key=lambda plan: (plan.name != BASELINE, plan.name in averages, plan.expected_s))
    for plan in plans:
        left_s = max(0.0, budget_s - (time.perf_counter() - start))
        began = time.perf_counter()
        if members := averages.get(plan.name, ()):  # what is left to fit of them
            missing = (one.expected_s for one in plans if one.name in members and one.name not in fitted)
            plan = replace(plan, expected_s=sum(missing))
        if members and fitted.keys() >= set(members):
            heads = [
                put_together(candidates[plan.name], [fitted[name][number] for name in members], part)
                for number, part in enumerate(parts)
            ]
        elif plan.name == BASELINE or plan.expected_s <= left_s:
            trial = alone(candidates[plan.name], trained=not candidates[plan.name].is_solved)
            heads = [trial.fit(part, refit=False).head for part in parts]
        else:
            logger.info("auto: %s left out, needs about %.0f s of %.0f s left", plan.name, plan.expected_s, left_s)
            tries.append(plan)
            continue
        fitted[plan.name] = heads
        served = [_as_served(head, part, target, seed) for head, part in zip(heads, parts, strict=True)]
        rounds = list(zip(served, judged, strict=True))
        alike = np.concatenate([figures_of(*one, target, seed) for one in rounds])
        cosines[plan.name] = (
            alike if target == COSINE else np.concatenate([figures_of(*one, COSINE, seed) for one in rounds])
        )
        away = None if unlike is None else figures_of(served[0], replace(inner, validation=unlike), target, seed)
        figures[plan.name] = alike if away is None else _balanced(alike, away, seed)
        seconds = time.perf_counter() - began
        cost = heads[0].cost()  # a rank is known only now
        tries.append(
            replace(
                plan, seconds=seconds, parameters=cost["parameters"], flops_per_query=cost["flops_per_query"],
                alike=_known(alike), unlike=None if away is None else _known(away),
            )
        )  # fmt: skip
        logger.info("auto: %s, %s %.3f in %.1f s", plan.name, target, mean_of_known(figures[plan.name]), seconds)
    selection = decide(sorted(tries, key=_cost), figures, cosines, target, budget_s, seed)
    return replace(selection, reason=selection.reason + _sample_words(len(splits.train)))


def _sample_words(count: int) -> str:
    if count <= MOST_PAIRS:
        return ""
    return f"; heads were tried on {MOST_PAIRS:,} of {count:,} training pairs"


def _as_served(head: Head, pairs: PairSplits, target: str, seed: int) -> Head:
    """What maps queries, whitened where they are judged by what they find."""
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


def _balanced(alike: np.ndarray, away: np.ndarray, seed: int) -> np.ndarray:
    """Equally many figures of both kinds, so that both have the same weight."""
    count = min(len(alike), len(away))
    return np.concatenate([part[sample_rows(len(part), count, seed).numpy()] for part in (alike, away)])


def _known(figures: np.ndarray) -> float | None:
    mean = mean_of_known(figures)
    return mean if np.isfinite(mean) else None
