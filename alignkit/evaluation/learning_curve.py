"""How quality grows with the number of training pairs, and what twice as many would probably bring."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from alignkit.costs import CallCost
from alignkit.evaluation.aligning import align
from alignkit.evaluation.columns import Column
from alignkit.heads.held_out import CORPUS, HeldOut
from alignkit.heads.linear import LinearHead
from alignkit.heads.moments import Moments
from alignkit.heads.ridge import best_lambda, cross_validated_lambda, solve_ridge
from alignkit.heads.streaming import TensorBatches
from alignkit.metrics.retrieval import ndcg_at_k, ranking_overlap
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.evaluation_set import EvaluationSet
from alignkit.pairs.unit_rows import unit_rows
from alignkit.vectors import l2_normalize, top_k

SIZES = 6
LEAST_PAIRS = 20
# two sizes make a curve
FEWEST_PAIRS = 2 * LEAST_PAIRS
_CHUNK = 4096


@dataclass(frozen=True)
class LearningCurve:
    """Closed-form heads of growing training sets.

    Attributes:
        pairs: numbers of training pairs, ascending, the last all of them.
        figures: the verdict's measure at each.
        cosines: mean test cosine at each.
        forecast: the measure at twice the last number, `None` where the curve does not tell.
        calls: of the teacher that twice the number would take: a text for each that there is, held-out ones included.
        cost: of such a call, where a price is known.
    """

    pairs: tuple[int, ...]
    figures: tuple[float, ...]
    cosines: tuple[float, ...]
    forecast: float | None
    calls: int
    cost: CallCost | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        lists = {name: list(getattr(self, name)) for name in ("pairs", "figures", "cosines")}
        return {**vars(self), **lists, "cost": None if self.cost is None else self.cost.to_json(self.calls)}


def learning_curve(
    splits: PairSplits, test: EvaluationSet, measure: Column, *, cost: CallCost | None = None, seed: int = 0
) -> LearningCurve | None:
    """Fit a ridge head on 6 nested seeded samples, each twice the one before, and measure each.

    Args:
        splits: all training pairs, and validation pairs that choose the strength of regularisation at every size.
        test: what to measure on.
        measure: `ndcg@10` or `overlap@10`.
        cost: of a call of the teacher.
        seed: of the samples.

    Returns:
        `None` for fewer than 40 training pairs.
    """
    train = splits.train
    sizes = sorted({len(train) >> halvings for halvings in range(SIZES)} - set(range(LEAST_PAIRS)))
    if len(sizes) < 2:
        return None
    order = np.random.default_rng(seed).permutation(len(train))
    moments = Moments(*(side.mean(dim=0) for side in next(_batches(train, np.arange(min(_CHUNK, len(train)))))))
    held_out = _held_out(splits.validation, train)
    wanted = top_k(test.queries.teacher, test.corpus.teacher, 10, exclude=test.itself)[1].numpy()
    figures, cosines, seen = [], [], 0
    for size in sizes:
        rows = np.sort(order[seen:size])  # forward through a memory map
        for student, teacher in _batches(train, rows):
            moments.add(student, teacher)
        seen = size
        head = LinearHead(train.student_dim, train.teacher_dim)
        _solve(head, moments, held_out)
        aligned = l2_normalize(align(head, test.queries.student))
        found = top_k(aligned, test.corpus.teacher, 10, exclude=test.itself)[1].numpy()
        judged = test.judge(found) if measure == Column.NDCG_10 else None
        per_query = ndcg_at_k(judged, 10) if judged is not None else ranking_overlap(found, wanted, 10)
        figures.append(float(np.nanmean(per_query)))
        cosines.append(float((aligned.numpy() * test.queries.teacher).sum(axis=1).mean()))
    calls = sum(map(len, splits.parts))
    return LearningCurve(tuple(sizes), tuple(figures), tuple(cosines), forecast(sizes, figures), calls, cost)


def forecast(pairs: list[int], figures: list[float]) -> float | None:
    """The figure at twice the last number of pairs, if the last doublings' gains go on shrinking as they did.

    Learning curves flatten; a power law without a ceiling would promise too much. So the gain of the next doubling is
    the last one times the ratio of the last two, at most the last one itself.

    >>> round(forecast([100, 200, 400], [0.5, 0.6, 0.65]), 3)
    0.675
    """
    if len(figures) < 3 or pairs[-1] < 2 * pairs[-2]:
        return None
    before, last = figures[-2] - figures[-3], figures[-1] - figures[-2]
    if before <= 0 or last <= 0:
        return figures[-1]
    return min(1.0, figures[-1] + last * min(1.0, last / before))


def _held_out(validation: Pairs, train: Pairs) -> HeldOut | None:
    """What λ is chosen on at every size: always the same sentences, among the same others."""
    if not len(validation):
        return None
    some = slice(None, None, -(-len(validation) // CORPUS))
    pairs = TensorBatches(_float32(validation.student[some]), _unit(validation.teacher[some]))
    return HeldOut.of(pairs, _unit(train.teacher[:: -(-len(train) // CORPUS)]))


def _solve(head: LinearHead, moments: Moments, held_out: HeldOut | None) -> None:
    centered = moments.centered()
    by_held_out = held_out and best_lambda(centered, held_out.student, held_out).strength
    weight, bias = solve_ridge(centered, by_held_out or cross_validated_lambda(centered))
    with torch.no_grad():
        head.projection.weight.copy_(weight)
        head.projection.bias.copy_(bias)


def _batches(pairs: Pairs, rows: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(rows), _CHUNK):
        here = rows[start : start + _CHUNK]
        yield _float32(pairs.student[here]), _unit(pairs.teacher[here])


def _float32(vectors: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(vectors, dtype=np.float32))


def _unit(vectors: np.ndarray) -> Tensor:
    return torch.from_numpy(unit_rows(vectors))
