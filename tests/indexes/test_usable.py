"""Which vectors can be used: not those of NaN, infinity or zeros, but very long and very short ones."""

import numpy as np
import pytest

from alignkit.indexes.usable import MISSING, NOT_FINITE, ZERO, matrix_of, usable


def test_reasons_are_given_by_row():
    vectors = np.array([[1, 2], [0, 0], [np.nan, 1], [1, -np.inf], [3e30, 3e30], [-1e-30, 0], [np.nan, np.inf]])
    out, faults = usable(vectors)
    assert faults == {1: ZERO, 2: NOT_FINITE, 3: NOT_FINITE, 6: NOT_FINITE}
    assert np.isnan(out).all(axis=1).tolist() == [False, True, True, True, False, False, True]
    np.testing.assert_array_equal(out[[0, 4, 5]], vectors[[0, 4, 5]].astype(np.float32))


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_nothing_is_no_fault(shape):
    assert usable(np.empty(shape))[1] == {}


def test_vectors_of_other_widths_and_none_are_named():
    out, faults = matrix_of([[1.0, 2.0], None, [1.0], [0.0, 0.0]], 2)
    assert faults == {1: MISSING, 2: "its vector has 1 dimensions, not 2", 3: ZERO}
    assert out[0].tolist() == [1, 2] and np.isnan(out[1:]).all()
