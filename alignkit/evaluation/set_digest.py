"""Which set was measured on, in 16 characters: figures of two runs can be compared where these are the same."""

from __future__ import annotations

import hashlib

import numpy as np

from alignkit.pairs.evaluation_set import EvaluationSet, Side

# of vectors without texts; any other set differs in most of them
SAMPLED = 256


def set_digest(test: EvaluationSet) -> str:
    """The same for the same queries, corpus and judgements, whichever models embedded them.

    Where a side has no texts, its teacher vectors stand for them.
    """
    told = hashlib.blake2b(digest_size=8)
    for side in (test.queries, test.corpus):
        told.update(f"{len(side)} ".encode())
        told.update(_of_side(side))
    told.update(test.itself.astype("<i8").tobytes())
    if test.qrels is not None:
        told.update(test.qrels.keys.astype("<i8").tobytes())
        told.update(test.qrels.grades.astype("<f8").tobytes())
    if test.labels is not None:
        told.update("\0".join(map(str, test.labels)).encode("utf-8", "replace"))
    return told.hexdigest()


def _of_side(side: Side) -> bytes:
    if side.texts is not None:
        return "\0".join(side.texts).encode("utf-8", "replace")
    rows = np.unique(np.linspace(0, len(side) - 1, min(SAMPLED, len(side))).astype(np.int64))
    return side.teacher[rows].astype("<f4").tobytes()
