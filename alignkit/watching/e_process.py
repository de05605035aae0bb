"""Evidence that queries fare worse than they did, valid at any time and over any number of looks.

A new query's score is ranked among the reference's and those of all queries before it. As long as all of them come from
one source, these ranks are independent and uniform, whatever the scores are like and however few the reference has: the
conformal p-values of Vovk, Nouretdinov and Gammerman, ICML 2003. As normal scores they are independent N(0, 1), and a
drop shifts them to the left. Against N(0, 1) stands a shift by one of SIZES that begins at one of the looks. The
likelihood ratios of all these, mixed, are an e-process: without a change it ever reaches 1 / ALPHA with a probability
of at most ALPHA (Ville 1939; the mixture as in Robbins, Annals of Mathematical Statistics 41, 1970).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

ALPHA = 0.05
# of a shift, in standard deviations of a query: a drop of overlap@10 by .05 is some .2
SIZES = (0.15, 0.3, 0.6, 1.2)


@dataclass(frozen=True)
class Course:
    """The evidence after each of L looks.

    Attributes:
        log_e: `(L,)`, natural logarithm of the e-process.
    """

    log_e: np.ndarray

    @property
    def worse(self) -> bool:
        """Whether the last look ends with evidence enough."""
        return bool(len(self.log_e)) and bool(self.log_e[-1] >= -np.log(ALPHA))


def normal_scores(new: np.ndarray, before: np.ndarray, seed: list[int]) -> np.ndarray:
    """The rank of each new score among those before it, as a normal score: independent N(0, 1) without a change.

    Args:
        new: `(N,)`, the higher the better, in the order in which they are looked at.
        before: `(B,)`, the reference's and those of earlier looks; at least one.
        seed: of the places among equal scores.

    Returns:
        `(N,)`: low where a query fares worse than those before it.

    >>> bool(normal_scores(np.array([0.1]), np.linspace(0.2, 1, 99), [0])[0] < -2)
    True
    """
    count = len(before) + np.arange(1, len(new) + 1)
    sorted_before = np.sort(before)
    below = np.searchsorted(sorted_before, new, side="left").astype(np.float64)
    equal = np.searchsorted(sorted_before, new, side="right") - below
    earlier = np.tril(np.ones((len(new), len(new)), dtype=bool), -1)
    below += ((new[None, :] < new[:, None]) & earlier).sum(axis=1)
    equal += ((new[None, :] == new[:, None]) & earlier).sum(axis=1) + 1  # itself
    drawn = np.random.default_rng(seed).random(len(new))
    # the open interval: an end would be infinite
    return np.asarray(ndtri(np.clip((below + drawn * equal) / count, 1e-12, 1 - 1e-12)))


def course_of(looks: Sequence[np.ndarray]) -> Course:
    """The e-process over the normal scores of each look.

    A change that begins with look j has the prior weight 1 / (j (j + 1)), so that later ones need more evidence. Of one
    size, the sum over all starts is a recursion, as Shiryaev and Roberts have it (Shin, Ramdas and Rinaldo,
    E-detectors, New England Journal of Statistics in Data Science 2, 2024).
    """
    sizes = np.array(SIZES)
    begun = np.full(len(sizes), -np.inf)  # logarithm of the weighted sum over all starts so far, by size
    log_e = []
    for number, scores in enumerate(looks, start=1):
        gained = -sizes * scores.sum() - len(scores) * sizes**2 / 2
        begun = np.logaddexp(begun, -np.log(number * (number + 1.0))) + gained
        to_come = -np.log(number + 1.0)  # of the changes that have not begun
        log_e.append(np.logaddexp(np.logaddexp.reduce(begun) - np.log(len(sizes)), to_come))
    return Course(np.array(log_e))


def changed_at(scores: np.ndarray, starts: np.ndarray) -> int:
    """The query with which a drop most probably began: maximum likelihood over starts and sizes.

    Args:
        scores: `(N,)` normal scores.
        starts: the queries with which it may have begun, ascending; at least one.

    >>> changed_at(np.array([0.1, -0.2, 0.3, -2.0, -1.5, -2.2]), np.array([0, 3, 5]))
    3
    """
    drop = np.maximum(np.cumsum(-scores[::-1])[::-1], 0)[starts]
    return int(starts[np.argmax(drop**2 / (len(scores) - starts))])
