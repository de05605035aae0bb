from __future__ import annotations

import numpy as np
import pytest

from alignkit.pairs.base import Pairs, PairSplits
from alignkit.pairs.extra import with_extra
from alignkit.selection.judged_parts import folds_of, held_out

COUNT = 1_200


@pytest.fixture(scope="module")
def with_openings():
    """Documents, and openings that have the vectors of their documents."""
    generator = np.random.default_rng(0)

    def pairs(count, teacher=None):
        teacher = generator.normal(size=(count, 5)).astype(np.float32) if teacher is None else teacher
        student = generator.normal(size=(count, 4)).astype(np.float32)
        return Pairs([f"row {row}" for row in range(count)], student, teacher)

    own = PairSplits(train=pairs(COUNT), validation=pairs(30), test=pairs(30))
    return with_extra(own, pairs(COUNT, own.train.teacher), 0.2)


def rows_of(pairs):
    return {row.tobytes() for row in np.asarray(pairs.teacher[:], dtype=np.float32)}


def test_openings_of_held_out_documents_are_not_fitted_on(with_openings):
    splits, unlike = held_out(with_openings, seed=0, clusters=True)
    assert len(splits.validation) and len(unlike)
    fitted = rows_of(splits.train)
    assert not fitted & rows_of(splits.validation)
    assert not fitted & rows_of(unlike)
    assert len(splits.train) == 2 * len(fitted)  # every other opening is


def test_openings_of_a_fold_are_not_fitted_on(with_openings):
    folds = folds_of(with_openings, seed=0)
    assert sum(len(judged) for _, judged in folds) == COUNT
    for splits, judged in folds:
        assert not rows_of(splits.train) & rows_of(judged)
        assert len(splits.train) == 2 * (COUNT - len(judged))
