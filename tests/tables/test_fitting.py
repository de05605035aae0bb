"""The fit of a table's rows: what is kept of it."""

import numpy as np
import pytest

sparse = pytest.importorskip("scipy.sparse")

from alignkit.tables.fitting import fit_rows  # noqa: E402


@pytest.mark.parametrize("shared", [0, 10])
def test_a_fit_is_judged_by_what_tells_texts_apart(shared):
    """The vectors of many models share a large mean: their plain cosine says little but how short the sums are."""
    drawn = np.random.default_rng(0)
    counts = sparse.csr_array((drawn.random((400, 150)) < 0.04).astype(np.float32))
    true = drawn.normal(size=(150, 12)).astype(np.float32)
    rows = true + drawn.normal(size=true.shape).astype(np.float32)
    vectors = counts @ true + 3.6 * drawn.normal(size=(400, 12))
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) + shared * np.eye(12)[0]
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert fit_rows(counts, rows, vectors)[1] == 2
