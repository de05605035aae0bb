"""What more of the teacher's calls would bring, beside what training gave."""

from __future__ import annotations

from dataclasses import replace

from alignkit.costs import CallCost
from alignkit.estimator.trained import Trained
from alignkit.evaluation.learning_curve import learning_curve
from alignkit.pairs.base import PairSplits
from alignkit.pairs.searched_corpus import set_of_splits

# of more pairs the curve is left out: it reads them all once more
MOST_PAIRS = 200_000


def with_curve(trained: Trained, splits: PairSplits, *, cost: CallCost | None = None, seed: int = 0) -> Trained:
    """The same with a learning curve in its result.

    Args:
        trained: what was trained.
        splits: the pairs.
        cost: of a call of the teacher.
        seed: as it was trained with.
    """
    curve = learning_curve(splits, set_of_splits(splits, seed), trained.result.measure, cost=cost, seed=seed)
    return replace(trained, result=replace(trained.result, curve=curve))
