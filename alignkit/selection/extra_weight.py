"""Chooses how much pairs from elsewhere count beside the user's own, by what that brings to held-out own texts."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import torch

from alignkit.evaluation.aligning import align
from alignkit.heads.held_out import HeldOut
from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.extra import with_extra
from alignkit.pairs.views import own_and_extra, take_pairs
from alignkit.selection.judged_parts import folds_of
from alignkit.selection.trials import alone
from alignkit.training.fit import Fitter
from alignkit.training.solver_batches import SolverBatches, sample_of_teacher

logger = logging.getLogger(__name__)

# What all extra pairs together count, relative to all own ones. Kernel regression on 1,120 documents of Cranfield and
# 6,000 general sentences keeps, with the static student, 82.6% of the teacher's nDCG@10 from the documents alone, 83.4,
# 85.9, 85.1, 83.7 and 80.5% with .02, .05, .16, .5 and 5; two-layer student 78.5%, then 82.5, 81.5, 79.7, 78.1 and 77.5
SHARES = (0.03, 0.1, 0.3, 1.0)
# extra pairs on which the weight is chosen; on parts of the own pairs, which are few then, every weight is tried anew
MOST_EXTRA, MOST_EXTRA_OF_FOLDS = 4_000, 1_000
# in standard errors of the paired difference
SURE = 1.0


@dataclass(frozen=True)
class TriedWeight:
    """What one weight brings.

    Attributes:
        weight: of an extra pair beside an own one; 0 is the own pairs alone.
        quality: mean over the held-out own texts of the cosine plus the share of near neighbours found.
        gain: over the own pairs alone.
        error: standard error of that gain.
    """

    weight: float
    quality: float
    gain: float
    error: float


@dataclass(frozen=True)
class ExtraWeight:
    """The chosen weight; 0 leaves the extra pairs out.

    Attributes:
        weight: of an extra pair beside an own one.
        pairs: how many extra pairs there are.
        tried: in the order of their weights.
        reason: in one line.
    """

    weight: float
    pairs: int
    tried: tuple[TriedWeight, ...]
    reason: str


def choose_extra_weight(fitter: Fitter, own: PairSplits, extra: Pairs, seed: int = 0) -> ExtraWeight:
    """Fit the head's closed form with the own pairs alone and with the extra ones at each weight.

    The extra pairs are taken only where their gain on held-out own texts is beyond its standard error, so that they can
    do no harm; of several weights the best is taken. The test split is not looked at.

    Args:
        fitter: of a head with a closed form.
        own: the user's own pairs. Where few are held out, parts of the training pairs are held out in turn.
        extra: see `pairs.extra.extra_pairs`.
        seed: of the parts and samples.
    """
    trial = alone(fitter, trained=False)
    folds = folds_of(own, seed)
    rounds = [(own, own.validation), *folds]
    count = len(own_and_extra(own.train)[0])  # without openings of documents
    few = take_pairs(extra, sample_rows(len(extra), MOST_EXTRA_OF_FOLDS if folds else MOST_EXTRA, seed).numpy())
    own_alone = _qualities(trial, rounds, None, 0.0)
    tried, best = [TriedWeight(0.0, float(own_alone.mean()), 0.0, 0.0)], 0
    for share in SHARES:
        gains = _qualities(trial, rounds, few, min(1.0, share * count / len(few))) - own_alone
        error = float(gains.std()) / len(gains) ** 0.5
        weight = min(1.0, share * count / len(extra))
        tried.append(TriedWeight(weight, float((own_alone + gains).mean()), float(gains.mean()), error))
        quality = tried[-1].quality
        logger.info("extra: %s, %.4f on held-out own texts, %.4f alone", _words(weight), quality, tried[0].quality)
        if tried[-1].gain > max(SURE * error, tried[best].gain):
            best = len(tried) - 1
    return ExtraWeight(tried[best].weight, len(extra), tuple(tried), _reason(tried, best, len(extra), len(own_alone)))


def _qualities(
    fitter: Fitter, rounds: list[tuple[PairSplits, Pairs]], extra: Pairs | None, weight: float
) -> np.ndarray:
    """`(Q,)` of every own text that is held out in one of the rounds."""
    found = []
    for splits, judged in rounds:
        fitted = splits if extra is None else with_extra(splits, extra, weight)
        head = fitter.fit(fitted, refit=False).head
        cpu = torch.device("cpu")
        held_out = HeldOut.of(SolverBatches(judged, device=cpu), sample_of_teacher(splits.train))
        found.append(held_out.quality(align(head, held_out.student.numpy())).double().numpy())
    return np.concatenate(found)


def _reason(tried: list[TriedWeight], best: int, pairs: int, judged: int) -> str:
    figures = ", ".join(f"{one.quality:.3f} at {_words(one.weight)}" for one in tried[1:])
    said = (
        f"cosine + overlap on {judged:,} held-out own texts is {tried[0].quality:.3f} from own pairs alone, {figures}"
    )
    if not best:
        return f"the {pairs:,} extra pairs are left out, since they bring nothing that is beyond noise: {said}"
    gain = tried[best]
    return (
        f"an extra pair counts {_words(gain.weight)} of an own one, and the {pairs:,} bring {gain.gain:+.3f} "
        f"(standard error {gain.error:.3f}): {said}"
    )


def _words(weight: float) -> str:
    return "as much" if weight == 1 else f"1/{round(1 / weight):,}"
