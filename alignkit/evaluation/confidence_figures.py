"""Does the head know when it is wrong: what it told of each query beside what the query found."""

from __future__ import annotations

from typing import Any

import numpy as np

from alignkit.metrics.alignment import spearman

ROUTED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0)
BINS = 10
OVERSTATES = 0.05


def confidence_figures(told: np.ndarray, found: np.ndarray) -> dict[str, Any]:
    """Order, calibration and use of a confidence, as plain JSON values.

    Args:
        told: `(Q,)` in [0, 1], the share that each query was expected to find.
        found: `(Q,)` in [0, 1], the share that it found; NaN where undefined.

    Returns:
        `queries`; `spearman` of the two; `told_mean`, `true_mean`; `reliability`, tenths of the queries from the least
        sure on (`told`, `true`, `queries`); `routing`, for each `share` of queries sent to the teacher, the least sure
        first, the mean overlap of all (`overlap`), that of as many sent at random (`random`), and the confidence
        under which they lie (`below`, as `fallback_below` of `serve`; `None` for all of them; where queries
        are equally sure, it sends somewhat fewer).

    >>> figures = confidence_figures(np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.0, 0.5, 0.5, 1.0]))
    >>> [one["overlap"] for one in figures["routing"] if one["share"] == 0.5]
    [0.875]
    """
    defined = ~np.isnan(found)
    told, found = told[defined].astype(np.float64), found[defined].astype(np.float64)
    order = np.argsort(told, kind="stable")
    # equally sure queries stand in no order: each counts as their mean
    _, group = np.unique(told, return_inverse=True)
    expected = (np.bincount(group, found) / np.maximum(np.bincount(group), 1))[group]
    told_in_order, expected_in_order = told[order], expected[order]
    count, mean = len(told), float(found.mean()) if len(found) else float("nan")
    routing = []
    for share in ROUTED if count else ():
        sent = round(share * count)
        routing.append(
            {
                "share": share,
                "overlap": float((sent + expected_in_order[sent:].sum()) / count),
                "random": share + (1 - share) * mean,
                "below": float(told_in_order[sent]) if sent < count else None,
            }
        )
    bins = [part for part in np.array_split(np.arange(count), BINS) if len(part)]
    return {
        "queries": count,
        "spearman": spearman(told, found) if count > 1 else None,
        "told_mean": float(told.mean()) if count else None,
        "true_mean": mean if count else None,
        "reliability": [
            {
                "told": float(told_in_order[part].mean()),
                "true": float(expected_in_order[part].mean()),
                "queries": len(part),
            }
            for part in bins
        ],
        "routing": routing,
    }


def confidence_words(figures: dict[str, Any]) -> list[str]:
    """What the figures mean, in sentences."""
    if not figures["routing"]:
        return ["No query has a teacher's neighbour to find, so nothing can be said of the confidence."]
    fifth = next(one for one in figures["routing"] if one["share"] == 0.2)
    said = [
        f"Sending the fifth of the queries of which the head is least sure to the teacher gives overlap@10 "
        f"{fifth['overlap']:.3f}, a fifth at random {fifth['random']:.3f}, none "
        f"{figures['true_mean']:.3f} (serve: fallback=teacher fallback_below={fifth['below']:.3f})."
    ]
    off = figures["told_mean"] - figures["true_mean"]
    if abs(off) >= OVERSTATES:
        word = "more" if off > 0 else "less"
        said.append(
            f"It tells {figures['told_mean']:.3f} on average where {figures['true_mean']:.3f} was found: {word} than "
            "is so. These texts or this corpus are unlike what it learned from; take its order, not its figures."
        )
    return said
