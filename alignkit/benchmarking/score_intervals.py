"""Intervals of the scores of several models on the same units, and of their shares of the teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import rankdata

from alignkit.benchmarking.unit_figures import Stratum, UnitFigures
from alignkit.evaluation.table_rows import RowName
from alignkit.metrics.intervals import RESAMPLES, bootstrap_means

Resampled = Mapping[RowName, np.ndarray]


def resampled_scores(
    found: Mapping[RowName, UnitFigures], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[dict[RowName, float], dict[RowName, np.ndarray]]:
    """Scores of the units as they are, and `(R,)` scores of resampled units: the same draws for all rows.

    Args:
        found: row → its figures of the same units.
        resamples: R.
        seed: of the draws.
    """
    rows = list(found)
    scores, drawn = np.zeros(len(rows)), np.zeros((resamples, len(rows)))
    strata = list(zip(*(one.strata for one in found.values()), strict=True))
    for number, stratum in enumerate(strata):
        own, again = _of_stratum(stratum, resamples, seed + number)
        scores += own / len(strata)
        drawn += again / len(strata)
    return dict(zip(rows, map(float, scores), strict=True)), dict(zip(rows, drawn.T, strict=True))


def _of_stratum(rows: tuple[Stratum, ...], resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    figures = np.stack([row.figures for row in rows], axis=1).astype(np.float64)
    if (targets := rows[0].targets) is None:
        return figures.mean(axis=0), bootstrap_means(figures, resamples=resamples, seed=seed)
    draws = np.random.default_rng(seed).integers(0, len(figures), size=(resamples, len(figures)))
    return _spearman(figures, targets), np.stack([*_resampled_spearman(figures, targets, draws)])


def _resampled_spearman(figures: np.ndarray, targets: np.ndarray, draws: np.ndarray) -> Iterator[np.ndarray]:
    for drawn in draws:
        yield _spearman(figures[drawn], targets[drawn])


def _spearman(figures: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Rank correlation of every column with the targets; 0 where one of them is constant."""
    ranks = rankdata(np.column_stack([targets, figures]), axis=0)
    ranks -= ranks.mean(axis=0)
    lengths = np.linalg.norm(ranks, axis=0)
    products = ranks[:, 1:].T @ ranks[:, 0]
    return np.divide(
        products, lengths[1:] * lengths[0], out=np.zeros_like(products), where=lengths[1:] * lengths[0] > 0
    )
