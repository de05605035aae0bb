"""Pairs from elsewhere beside the user's own: they are fitted on, and nothing is chosen or measured on them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alignkit.errors import DataError
from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.vector_fingerprints import vector_fingerprints
from alignkit.pairs.views import join_pairs, take_pairs
from alignkit.sentences.normalise import normalise_text


def extra_pairs(own: PairSplits, extra: PairSplits) -> Pairs:
    """All pairs of a second source, without the sentences of the first.

    Args:
        own: what the head is for.
        extra: the second source, whose splits are not kept apart.

    Raises:
        DataError: if its vectors are of other models, or nothing is left.
    """
    for side in ("student", "teacher"):
        widths = [int(getattr(part.train, side).shape[1]) for part in (own, extra)]
        identities = [part.origin.identity(side) for part in (own, extra)]
        if widths[0] != widths[1]:
            raise DataError(
                f"extra: holds {widths[1]}-d vectors of the {side}, the own pairs {widths[0]}-d ones; embed both with "
                "the same model"
            )
        if None not in identities and identities[0] != identities[1]:
            raise DataError(f"extra: its {side} is another model than that of the own pairs; embed both with the same")
    joined = join_pairs(join_pairs(extra.train, extra.validation), extra.test)
    if all(part.texts is not None for part in extra.parts):
        joined = replace(joined, texts=[text for part in extra.parts for text in part.texts or ()])
    rows = np.flatnonzero(~_known(joined, own))
    if not len(rows):
        raise DataError("extra: holds no sentence that is not among the own ones")
    # hard negatives say what a sentence is told apart from, which a loss may need of all pairs or of none
    return replace(take_pairs(joined, rows), negatives=None)


def with_extra(own: PairSplits, extra: Pairs, weight: float) -> PairSplits:
    """The own splits, with the others in the training split.

    Args:
        own: of the user's own source.
        extra: of `extra_pairs`.
        weight: in (0, 1], what a pair of them counts beside an own one.
    """
    train = join_pairs(own.train, replace(extra, weights=np.full(len(extra), float(weight))))
    if own.train.texts is not None and extra.texts is not None:
        train = replace(train, texts=[*own.train.texts, *extra.texts])
    return replace(own, train=replace(train, ids=[*own.train.ids, *(f"extra {name}" for name in extra.ids)]))


def _known(extra: Pairs, own: PairSplits) -> np.ndarray:
    """`(N,)` bool: whether a sentence, by its vector or its text, is among the own ones."""
    prints = np.concatenate([vector_fingerprints(part.student) for part in own.parts])
    same = np.isin(vector_fingerprints(extra.student), prints)
    if extra.texts is not None:
        texts = {normalise_text(text) for part in own.parts for text in part.texts or ()}
        same |= np.array([normalise_text(text) in texts for text in extra.texts], dtype=bool)
    return same
