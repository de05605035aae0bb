"""How much of a figure could be chance: the paired bootstrap over queries, or over groups of related queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from alignkit.shapes import check_shapes

RESAMPLES = 1000
CONFIDENCE = 0.95
_BLOCK_DRAWS = 4_000_000
# of rows: a string, or an enumeration of them
Name = TypeVar("Name", bound=str)


@dataclass(frozen=True)
class Interval:
    """A mean over queries, or a difference or ratio of two means, with its 95% interval.

    Attributes:
        value: the figure of the sample itself.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Plain JSON values."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bootstrap_means(
    figures: np.ndarray, *, groups: np.ndarray | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> np.ndarray:
    """Means over resampled queries. All columns share the draws, so their differences are paired.

    A resample draws G groups with replacement, each with all its queries. Paraphrases of one sentence succeed or fail
    together; counting each as independent would make the intervals too narrow. How often each group was drawn is one
    row of a weight matrix, so one matrix product gives all means.

    Args:
        figures: `(Q, F)` finite, one row per query.
        groups: `(Q,)` int, 0 to G - 1, each at least once; `None` makes every query a group of its own.
        resamples: R.
        seed: of the draws.

    Returns:
        `(R, F)` float64.

    Source: Efron, Bootstrap methods, Annals of Statistics 7 (1979); paired as in Smucker et al., CIKM 2007; groups as
    in Davison and Hinkley, Bootstrap Methods and their Application (1997), 3.8.

    >>> bootstrap_means(np.ones((5, 1)), resamples=2).tolist()
    [[1.0], [1.0]]
    """
    check_shapes(figures=(figures, "Q F"), **({} if groups is None else {"groups": (groups, "Q")}))
    sums, sizes = figures, np.ones(len(figures))
    if groups is not None:
        sums = np.stack([np.bincount(groups, weights=column) for column in figures.T], axis=1)
        sizes = np.bincount(groups).astype(np.float64)
    count = len(sums)
    generator = np.random.default_rng(seed)
    means = np.empty((resamples, figures.shape[1]))
    block = max(1, _BLOCK_DRAWS // max(count, 1))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = generator.integers(0, count, size=(size, count), dtype=np.int32)
        weights = np.empty((size, count))
        for row in range(size):
            weights[row] = np.bincount(drawn[row], minlength=count)
        means[start : start + size] = weights @ sums / (weights @ sizes)[:, None]
    return means


class PairedBootstrap(Generic[Name]):
    """Intervals for the per-query figures of several rows, all from the same draws.

    Args:
        figures: name of a row → `(Q,)`, its figure for each query; a query that is NaN in any row is left out of all.
        groups: `(Q,)`, equal for queries that belong together (one intent, paraphrases of one sentence) and must be
            drawn together; `None` makes every query a group of its own.
        resamples: R.
        seed: of the draws.

    Attributes:
        names: of the rows.
        count: number of queries that have a figure in every row.
        groups: number of groups that these queries form.
    """

    def __init__(
        self,
        figures: Mapping[Name, np.ndarray],
        groups: np.ndarray | None = None,
        *,
        resamples: int = RESAMPLES,
        seed: int = 0,
    ) -> None:
        check_shapes(**{name: (column, "Q") for name, column in figures.items()})
        if groups is not None:
            check_shapes(figures=(next(iter(figures.values())), "Q"), groups=(groups, "Q"))
        self.names = names = list(figures)
        table = np.stack([np.asarray(figures[name], dtype=np.float64) for name in names], axis=1)
        judged = np.isfinite(table).all(axis=1)
        table = table[judged]
        codes = None if groups is None else np.unique(groups[judged], return_inverse=True)[1]
        self.count = len(table)
        self.groups = self.count if codes is None else int(codes.max(initial=-1)) + 1
        self._means: dict[Name, float] = {}
        self._resampled: dict[Name, np.ndarray] = {}
        if self.count:
            resampled = bootstrap_means(table, groups=codes, resamples=resamples, seed=seed)
            self._means = {name: float(table[:, column].mean()) for column, name in enumerate(names)}
            self._resampled = {name: resampled[:, column] for column, name in enumerate(names)}

    def mean(self, name: Name) -> Interval | None:
        """The mean of one row; `None` if no query is left."""
        return interval_of(self._means[name], self._resampled[name]) if name in self._means else None

    def difference(self, name: Name, other: Name) -> Interval | None:
        """The mean of one row minus the mean of another, paired by query."""
        if name not in self._means or other not in self._means:
            return None
        return interval_of(self._means[name] - self._means[other], self._resampled[name] - self._resampled[other])

    def ratio(self, name: Name, other: Name) -> Interval | None:
        """The mean of one row divided by that of another; `None` if a resample of the other is not above 0."""
        if name not in self._means or other not in self._means:
            return None
        if self._means[other] <= 0 or (self._resampled[other] <= 0).any():
            return None
        return interval_of(self._means[name] / self._means[other], self._resampled[name] / self._resampled[other])


def interval_of(value: float, resampled: np.ndarray) -> Interval:
    """A figure with the interval that its resamples span.

    Args:
        value: `()`, that of the sample itself.
        resampled: `(R,)` finite, that of each resample.
    """
    check_shapes(resampled=(resampled, "R"))
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(value, float(low), float(high))
