"""Which groups must stay on one side of a split: those that share a text or a near-duplicate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alignkit.sentences.near_duplicates import THRESHOLD, find_near_duplicates
from alignkit.sentences.splits import merge_groups

# Texts compared for near-duplicates. A group of a built set has few wordings, so its first texts represent it.
MOST_NEAR_CHECKED = 200_000
MOST_NEAR_CHECKED_PER_GROUP = 250


@dataclass(frozen=True)
class ClosedGroups:
    """Groups that have no text in common.

    Attributes:
        names: N names, one per sample.
        distinct_texts: how many texts differ when normalised.
        merged_equal: groups merged into another because of a shared text.
        merged_near: groups merged into another because of near-duplicates.
        near_checked: texts compared for near-duplicates.
    """

    names: list[str]
    distinct_texts: int
    merged_equal: int
    merged_near: int
    near_checked: int


def close_groups(
    groups: Sequence[str],
    digests: np.ndarray,
    texts_per_sample: np.ndarray,
    compared: Sequence[tuple[str, str]],
    threshold: float = THRESHOLD,
) -> ClosedGroups:
    """Merge groups until none shares a text or a near-duplicate with another.

    Args:
        groups: N names, one per sample.
        digests: `(T,)` of the texts of all samples, in order; equal for equal normalised texts.
        texts_per_sample: `(N,)`, summing to T.
        compared: `(group, text)` of the texts to compare for near-duplicates.
        threshold: see `find_near_duplicates`.
    """
    names = list(dict.fromkeys(groups))
    number = {name: index for index, name in enumerate(names)}
    group_of = np.repeat(np.array([number[name] for name in groups]), texts_per_sample)
    order = np.argsort(digests, kind="stable")
    equal = np.flatnonzero(digests[order][1:] == digests[order][:-1])
    same = _pairs(group_of[order[equal]], group_of[order[equal + 1]])
    merged = merge_groups(names, ((names[one], names[other]) for one, other in same))
    called = dict(zip(names, merged, strict=True))
    merged_of = np.array([number[called[name]] for name, _ in compared], dtype=np.int64)
    texts = [text for _, text in compared]
    left, right, _ = find_near_duplicates(texts, texts, threshold, (merged_of, merged_of))
    near = _pairs(merged_of[left], merged_of[right])
    closed = merge_groups(merged, ((names[one], names[other]) for one, other in near))
    renamed = dict(zip(names, closed, strict=True))
    return ClosedGroups(
        names=[renamed[name] for name in groups],
        distinct_texts=len(digests) - len(equal),
        merged_equal=len(names) - len(set(merged)),
        merged_near=len(set(merged)) - len(set(closed)),
        near_checked=len(compared),
    )


def _pairs(left: np.ndarray, right: np.ndarray) -> list[tuple[int, int]]:
    """The distinct pairs of different numbers, sorted."""
    apart = left != right
    both = np.sort(np.stack([left[apart], right[apart]], axis=1), axis=1)
    return [(int(one), int(other)) for one, other in np.unique(both, axis=0)]
