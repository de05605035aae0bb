"""Choose within a budget, clusters first, without texts that are nearly the same as others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.choosing.spreading import Covered, spread_rows
from alignkit.sentences.near_duplicates import find_near_duplicates

# after so many rounds what is left of the budget is drawn at random: the texts are then all but the same
_ROUNDS = 3


@dataclass(frozen=True)
class ChosenRows:
    """Of N candidates.

    Attributes:
        rows: ascending int64.
        near: how many of them are nearly the same as another chosen text, or one that was embedded before: taken only
            where the budget is larger than the number of all others.
        passed: how many such texts were not taken.
    """

    rows: np.ndarray
    near: int
    passed: int


def choose_rows(
    texts: Sequence[str],
    counts: np.ndarray,
    vectors: np.ndarray,
    budget: int,
    covered: Sequence[Covered] = (),
    seed: int = 0,
) -> ChosenRows:
    """The texts that the teacher should embed.

    Args:
        texts: N distinct ones.
        counts: `(N,)` how often each came: what comes more often counts for more.
        vectors: `(N, student_dim)` float32.
        budget: at most so many are chosen.
        covered: what need not be covered again.
        seed: of the clusters.
    """
    left, chosen, passed = np.arange(len(texts)), np.empty(0, np.int64), np.empty(0, np.int64)
    others = [text for one in covered for text in one.texts]
    rng = np.random.default_rng(seed)
    for number in range(len(texts)):
        missing = budget - len(chosen)
        if missing <= 0 or not len(left):
            break
        if number < _ROUNDS:
            picked = left[spread_rows(vectors[left], counts[left], missing, covered=covered, seed=seed + number)]
        else:
            picked = np.sort(rng.permutation(left)[:missing])
        near = _near([texts[row] for row in picked.tolist()], [*others, *(texts[row] for row in chosen.tolist())])
        passed, chosen = np.append(passed, picked[near]), np.append(chosen, picked[~near])
        left = np.setdiff1d(left, picked)
    more = rng.permutation(passed)[: max(0, budget - len(chosen))]
    return ChosenRows(np.sort(np.append(chosen, more)), len(more), len(passed) - len(more))


def _near(texts: list[str], others: list[str]) -> np.ndarray:
    """`(N,)` whether a text is nearly the same as one of the others, or as an earlier one that is kept."""
    near = np.zeros(len(texts), dtype=bool)
    near[find_near_duplicates(texts, others)[0]] = True
    own = np.arange(len(texts))
    for first, second, _ in zip(*find_near_duplicates(texts, texts, groups=(own, own)), strict=True):
        if first < second and not near[first]:
            near[second] = True
    return near
