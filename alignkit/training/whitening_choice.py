"""Chooses how to whiten queries: by how often held-out texts then find their own teacher vectors."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignkit.heads.base import Head
from alignkit.heads.linear import LinearHead
from alignkit.heads.whitening import PLAIN, Setting, Spread, Whitenings
from alignkit.metrics.alignment import sample_rows
from alignkit.metrics.retrieval import judge_by_label, ndcg_at_k, ranking_overlap
from alignkit.metrics.self_retrieval import self_log_probabilities, self_retrieval
from alignkit.pairs.base import PairSplits
from alignkit.pairs.placed_rows import rows_on
from alignkit.runs.whitening_record import WhiteningRecord
from alignkit.setting_rules import check
from alignkit.training.run_settings import OVERLAP, RULES, SELF_MRR
from alignkit.vectors import l2_normalize, top_k

logger = logging.getLogger(__name__)

CPU = torch.device("cpu")
# Where few directions make up the teacher's spread, ranks of the own vector are not what decides: kernel regression on
# 4,000 texts of CLINC150 with gemma 3 270M finds .427 by intent as it is and .574 whitened, at the same self_mrr.
# Labels of the held-out texts tell (.595 and .697), and without labels their probabilities
NDCG, PROBABILITY = "ndcg@10", "self_log_probability"
# fewer held-out texts cannot distinguish settings
FEWEST_QUERIES = 20
# A good head finds nearly every held-out text, so that it takes many of them to show a gain: with 1,000 a perceptron on
# 24,000 or 48,000 sentences, two-layer student, stays as it is (1.9 standard errors), and finds 93.0% and 92.6% of what
# the teacher finds in StackFAQ; whitened, 94.2% and 94.0%. Texts that search, to texts that are searched
MOST_QUERIES, MOST_CORPUS = 4_000, 12_000
# float32 numbers, so that wide vectors take no more memory than narrow ones
MOST_ELEMENTS = 25_000_000
# a reciprocal rank that is nearly always 1 says little; the probability of the own vector is still informative
SATURATED = 0.95
# Documents that stand in for queries and nearly always find themselves say nothing of what short queries need. Kernel
# regression on own documents, nDCG@10 of real queries in percent of the teacher's, plain and whitened (power .5), and
# how well documents find themselves (self_mrr): Cranfield 87.5 and 82.3 with the static student (.88), 80.5 and 66.7
# with the two-layer one (.97); StackFAQ 93.8 and 94.5 (.59), 90.7 and 90.1 (.74); ADI 82.6 and 99.8 (.35), 79.4 and
# 87.0 (.34)
TOLD_APART = 0.8
# in standard errors: to whiten at all, and to whiten more than the mildest setting that is about as good
SURE, ABOUT_AS_GOOD = 2.0, 1.0
# smaller gains are ignored, however significant
LEAST_GAIN = 1e-3


@dataclass(frozen=True)
class ChosenWhitening:
    """A whitening, or none, and the record of the choice.

    Attributes:
        part: the affine map behind the head; `None` if queries stay as the head returns them.
        about: what was chosen and why.
    """

    part: LinearHead | None
    about: WhiteningRecord


@torch.no_grad()
def choose_whitening(
    kept: Head, splits: PairSplits, whiten_by: str = SELF_MRR, seed: int = 0, device: torch.device | None = None
) -> ChosenWhitening:
    """Estimate the covariance on one half of the validation texts, choose on the other, and the other way round.

    Args:
        kept: the head before its refit, which has not seen the validation split; on the CPU.
        splits: train and validation pairs; the test split is not looked at.
        whiten_by: `self_mrr` (where the teacher's spread is uneven, nDCG by labels if there are any), or `overlap@10`
            for those who want the teacher's own neighbours.
        seed: of the samples: at most 4,000 validation pairs, and with them 12,000 in all, fewer of wide vectors.
        device: where it is computed; `None` is the CPU.
    """
    device = device or CPU
    check({"whiten_by": whiten_by}, RULES)
    width = splits.train.teacher_dim
    most = min(MOST_CORPUS, MOST_ELEMENTS // width)
    queries = max(1, most * MOST_QUERIES // MOST_CORPUS)  # of wide vectors fewer
    rows = np.random.default_rng(seed).permutation(sample_rows(len(splits.validation), queries, seed).numpy())
    other_rows = sample_rows(len(splits.train), max(2, most - len(rows)), seed).numpy()
    others, own = (
        l2_normalize(rows_on(pairs.teacher, some, device))
        for pairs, some in ((splits.train, other_rows), (splits.validation, rows))
    )
    aligned = kept(rows_on(splits.validation.student, rows, CPU)).to(device)
    corpus = torch.cat([own, others])
    measured: dict[str, Any] = {"chosen_by": whiten_by, "queries": len(own), "corpus": len(corpus)}
    if len(own) < FEWEST_QUERIES:
        reason = f"{len(own)} validation texts are too few to choose by; at least {FEWEST_QUERIES} are needed"
        return ChosenWhitening(None, WhiteningRecord(**asdict(PLAIN), **measured, tried=(), reason=reason))
    halves = [torch.arange(start, len(own), 2, device=device) for start in (0, 1)]
    teacher = Spread.of(others)
    whole = Whitenings(aligned, own, teacher)
    families = [Whitenings(aligned[half], own[half], teacher) for half in halves]
    # of every text by the family that was estimated on the other half
    asked = {
        setting: [
            (_apply(family, setting, aligned[half]), half)
            for family, half in zip(families, reversed(halves), strict=True)
        ]
        for setting in whole.settings()
    }
    wanted = top_k(own, corpus, 10, exclude=torch.arange(len(own)))[1].cpu() if whiten_by == OVERLAP else None
    figures: dict[Setting, dict[str, Tensor]] = {}
    for setting, parts in asked.items():
        both = [_figures(queries, corpus, half, wanted) for queries, half in parts]
        figures[setting] = {name: torch.cat([one[name] for one in both]) for name in both[0]}
    by = whiten_by
    labels = _labels(splits, rows, other_rows)
    saturated = max(float(tried[SELF_MRR].mean()) for tried in figures.values()) >= SATURATED
    if by == SELF_MRR and whole.is_uneven and labels is not None:
        by = NDCG
        for setting, parts in asked.items():
            figures[setting][by] = torch.cat([_by_label(queries, corpus, half, labels) for queries, half in parts])
    elif by == SELF_MRR and (whole.is_uneven or saturated):
        by = PROBABILITY
        for setting, parts in asked.items():
            figures[setting][by] = torch.cat([self_log_probabilities(queries, corpus, half) for queries, half in parts])
    setting = mildest({setting: tried[by] for setting, tried in figures.items()})
    told_apart = bool(splits.origin.documents_for_queries) and float(figures[PLAIN][SELF_MRR].mean()) >= TOLD_APART
    if told_apart:
        setting = PLAIN
    tried = tuple(
        {**asdict(one), **{name: float(values.mean()) for name, values in told.items()}}
        for one, told in figures.items()
    )
    reason = _reason(setting, figures, by)
    if told_apart:
        reason = (
            f"queries stay as the head gives them: documents stand in for queries and find themselves as it is "
            f"(self_mrr {float(figures[PLAIN][SELF_MRR].mean()):.3f}), so that they cannot tell what whitening does to "
            "queries; data.queries= gives real ones"
        )
    logger.info("whitening: %s", reason)
    part = None if setting.is_plain else _part(*whole.map(setting))
    return ChosenWhitening(part, WhiteningRecord(**asdict(setting), **measured, tried=tried, reason=reason))


def mildest(figures: dict[Setting, Tensor]) -> Setting:
    """The mildest setting that is about as good as the best one; plain, unless the best is significantly better.

    Held-out texts are like those that the head was fitted on. On others the strongest setting is rarely the best.

    Args:
        figures: from the mildest setting on, `(Q,)` each; the first one is plain.
    """
    best = max(figures, key=lambda setting: float(figures[setting].mean()))
    plain = next(iter(figures))
    if not _leads(figures[best] - figures[plain], SURE):
        return plain
    return next(
        setting
        for setting, values in figures.items()
        if setting is not plain and not _leads(figures[best] - values, ABOUT_AS_GOOD)
    )


def _leads(gain: Tensor, errors: float) -> bool:
    return float(gain.mean()) > max(LEAST_GAIN, errors * float(gain.std(correction=0)) / len(gain) ** 0.5)


def _figures(queries: Tensor, corpus: Tensor, own: Tensor, wanted: Tensor | None) -> dict[str, Tensor]:
    found = self_retrieval(queries, corpus, own)
    figures = {SELF_MRR: found.reciprocal_ranks, "self_recall@1": found.hits}
    if wanted is not None:
        mine = top_k(queries, corpus, 10, exclude=own)[1].cpu()
        figures[OVERLAP] = torch.from_numpy(ranking_overlap(mine.numpy(), wanted[own.cpu()].numpy(), 10))
    return figures


def _labels(splits: PairSplits, rows: np.ndarray, other_rows: np.ndarray) -> list[str] | None:
    """Of the corpus; `None` without labels, or where too few held-out texts have company with their label."""
    held_out, train = splits.validation.labels, splits.train.labels
    if held_out is None or train is None:
        return None
    labels = [held_out[row] for row in rows] + [train[row] for row in other_rows]
    sizes = Counter(labels)
    return labels if sum(sizes[label] > 1 for label in labels[: len(rows)]) >= FEWEST_QUERIES else None


def _by_label(queries: Tensor, corpus: Tensor, own: Tensor, labels: list[str]) -> Tensor:
    """nDCG@10 of other texts with the query's label, of every query that has such."""
    found, own = top_k(l2_normalize(queries), corpus, 10, exclude=own)[1].cpu().numpy(), own.cpu()
    figures = ndcg_at_k(judge_by_label(found, [labels[row] for row in own], labels, exclude=own.numpy()), 10)
    return torch.from_numpy(figures[np.isfinite(figures)])


def _apply(family: Whitenings, setting: Setting, aligned: Tensor) -> Tensor:
    weight, bias = (part.to(aligned) for part in family.map(setting))
    return torch.addmm(bias, aligned, weight.T)


def _part(weight: Tensor, bias: Tensor) -> LinearHead:
    part = LinearHead(len(bias), len(bias)).requires_grad_(False)
    part.projection.weight.copy_(weight)
    part.projection.bias.copy_(bias)
    return part.eval()


def _reason(setting: Setting, figures: dict[Setting, dict[str, Tensor]], by: str) -> str:
    name = by if by in (OVERLAP, NDCG) else SELF_MRR
    before, after = (float(figures[one][name].mean()) for one in (PLAIN, setting))
    if setting.is_plain:
        return f"queries stay as the head gives them: no whitening surely raises {name} ({before:.3f})"
    how = f"power {setting.power:g}" if setting.power else f"the mean taken off by {setting.centre:g}"
    return f"queries are whitened ({how}): {name} {before:.3f} -> {after:.3f} on texts that the head was not fitted on"
