"""Does the head know when it is wrong: what it told of each query beside what the query found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from alignkit.metrics.alignment import spearman

ROUTED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
BINS = 10


@dataclass(frozen=True)
class Tenth:
    """A tenth of the queries: the mean confidence that was told, what was found, and how many queries these are."""

    told: float
    true: float
    queries: int


@dataclass(frozen=True)
class Routed:
    """What sending some queries to the teacher brings.

    Attributes:
        share: of the queries that are sent, the least sure first.
        overlap: mean overlap@10 of all queries then.
        random: the same with as many queries sent at random.
        below: confidence under which they lie, as `fallback_below` of `serve`; `None` for all of them. Where queries
            are equally sure, it sends somewhat fewer.
    """

    share: float
    overlap: float
    random: float
    below: float | None


@dataclass(frozen=True)
class ConfidenceFigures:
    """Order, calibration and use of a confidence.

    Attributes:
        queries: that have a figure.
        spearman: rank correlation of what was told with what was found; `None` where it is undefined.
        told_mean: mean confidence; `None` without queries.
        true_mean: mean overlap@10; `None` without queries.
        reliability: tenths of the queries, the least sure first.
        routing: for each share of queries that is sent to the teacher; empty without queries.
    """

    queries: int
    spearman: float | None
    told_mean: float | None
    true_mean: float | None
    reliability: tuple[Tenth, ...]
    routing: tuple[Routed, ...]

    def to_json(self) -> dict[str, Any]:
        """As `confidence` in `metrics.json` has it."""
        return {
            **asdict(self),
            "reliability": [*map(asdict, self.reliability)],
            "routing": [*map(asdict, self.routing)],
        }


def confidence_figures(told: np.ndarray, found: np.ndarray) -> ConfidenceFigures:
    """Hold what was told against what was found.

    Args:
        told: `(Q,)` in [0, 1], the share that each query was expected to find.
        found: `(Q,)` in [0, 1], the share that it found; NaN where undefined.

    >>> figures = confidence_figures(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.0, 0.5, 0.5, 1.0]))
    >>> [one.overlap for one in figures.routing if one.share == 0.5]
    [0.875]
    """
    defined = ~np.isnan(found)
    told, found = told[defined].astype(np.float64), found[defined].astype(np.float64)
    count = len(told)
    if not count:
        return ConfidenceFigures(0, None, None, None, (), ())
    order = np.argsort(told, kind="stable")
    # equally sure queries stand in no order: each counts as their mean
    _, group = np.unique(told, return_inverse=True)
    expected = (np.bincount(group, found) / np.bincount(group))[group]
    told_in_order, expected_in_order = told[order], expected[order]
    mean = float(found.mean())
    tenths = [part for part in np.array_split(np.arange(count), BINS) if len(part)]
    return ConfidenceFigures(
        queries=count,
        spearman=spearman(told, found) if count > 1 else None,
        told_mean=float(told.mean()),
        true_mean=mean,
        reliability=tuple(
            Tenth(float(told_in_order[part].mean()), float(expected_in_order[part].mean()), len(part))
            for part in tenths
        ),
        routing=tuple(_routed(share, mean, told_in_order, expected_in_order) for share in ROUTED),
    )


def _routed(share: float, mean: float, told_in_order: np.ndarray, expected_in_order: np.ndarray) -> Routed:
    count = len(told_in_order)
    sent = round(share * count)
    return Routed(
        share=share,
        overlap=float((sent + expected_in_order[sent:].sum()) / count),
        random=share + (1 - share) * mean,
        below=float(told_in_order[sent]) if sent < count else None,
    )
