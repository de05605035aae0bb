"""Parts of the train split that heads are judged on beside the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from alignkit.metrics.alignment import sample_rows
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.vector_fingerprints import vector_fingerprints
from alignkit.pairs.views import join_pairs, own_and_extra, take_pairs
from alignkit.selection.unlike import cluster_rows

HELD_OUT_SHARE = 0.1
# of more training pairs, heads are tried on a sample: they differ there as they do on all of them
MOST_PAIRS = 24_000
# with fewer training pairs, none are held out as texts unlike the others
ENOUGH_FOR_CLUSTERS = 1_000
# with fewer validation texts, heads are judged on parts of the train split too: 30 cannot tell two heads apart whose
# overlap@10 differs by .02
ENOUGH_QUERIES, FOLDS = 60, 5


def held_out(splits: PairSplits, seed: int, *, clusters: bool) -> tuple[PairSplits, Pairs | None]:
    """The pairs that a try is fitted and tuned on, and pairs unlike those, if requested and there are enough."""
    unlike = None
    own, extra = own_and_extra(splits.train)
    splits = replace(splits, train=own)
    some = sample_rows(len(splits.train), MOST_PAIRS, seed).numpy()
    if len(some) < len(splits.train):
        splits = replace(splits, train=take_pairs(splits.train, some))
    if clusters and len(splits.train) >= ENOUGH_FOR_CLUSTERS:
        away = cluster_rows(splits.train, seed)
        unlike = take_pairs(splits.train, away)
        splits = replace(splits, train=take_pairs(splits.train, np.setdiff1d(np.arange(len(splits.train)), away)))
    count = len(splits.train)
    order = np.random.default_rng([seed, count]).permutation(count)
    few = max(2, round(HELD_OUT_SHARE * count))
    train, validation = (take_pairs(splits.train, np.sort(rows)) for rows in (order[few:], order[:few]))
    judged = [validation] if unlike is None else [validation, unlike]
    return replace(splits, train=_beside(train, extra, judged), validation=validation), unlike


def folds_of(splits: PairSplits, seed: int) -> list[tuple[PairSplits, Pairs]]:
    """Where validation texts are few: pairs to fit and tune on, and the train split's left-out part to judge on."""
    own, extra = own_and_extra(splits.train)
    count = len(own)
    if len(splits.validation) >= ENOUGH_QUERIES or count < 2 * FOLDS:
        return []
    left_out = np.array_split(np.random.default_rng([seed, count, FOLDS]).permutation(count), FOLDS)
    folds = []
    for rows in left_out:
        kept, judged = take_pairs(own, np.setdiff1d(np.arange(count), rows)), take_pairs(own, np.sort(rows))
        folds.append((replace(splits, train=_beside(kept, extra, [judged])), judged))
    return folds


def _beside(own: Pairs, extra: Pairs | None, judged: Sequence[Pairs]) -> Pairs:
    """Extra pairs are only fitted on; those with the vector of a judged text, such as its opening, are left out."""
    if extra is None:
        return own
    prints = np.concatenate([vector_fingerprints(part.teacher) for part in judged])
    rows = np.flatnonzero(~np.isin(vector_fingerprints(extra.teacher), prints))
    return own if not len(rows) else join_pairs(own, take_pairs(extra, rows))
