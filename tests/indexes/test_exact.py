"""Exact search where lengths are at the edge of float32."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alignkit.indexes.exact import exact_search
from alignkit.indexes.parquet import ParquetIndex


def test_very_small_and_very_large_vectors_are_found_by_their_direction(tmp_path):
    rows = np.eye(3, dtype=np.float32) * np.array([[1e-30], [1], [1e30]], np.float32)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), 3)
    pq.write_table(pa.table({"id": ["small", "one", "large"], "vector": vectors}), tmp_path / "rows.parquet")
    with ParquetIndex(str(tmp_path / "rows.parquet"), id="id") as index:
        ids, scores = exact_search(index, np.eye(3, dtype=np.float32), 1)
    assert ids == [["small"], ["one"], ["large"]]
    np.testing.assert_allclose(scores, 1, atol=1e-6)
