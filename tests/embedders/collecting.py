"""All that an embedder gives, checked."""

import numpy as np
from fake_server import vector_of


def collect(embedder, texts, role="document"):
    """Vectors by position and failures, with a check that each position came once."""
    vectors, failures = {}, {}
    for batch in embedder.embed(texts, role):
        assert batch.vectors.dtype == np.float32
        assert batch.vectors.shape == (len(batch.indices), batch.vectors.shape[1])
        for position, vector in zip(batch.indices.tolist(), batch.vectors, strict=True):
            assert position not in vectors
            vectors[position] = vector
        assert not failures.keys() & batch.failures.keys()
        failures.update(batch.failures)
    assert vectors.keys() | failures.keys() == set(range(len(texts)))
    assert not vectors.keys() & failures.keys()
    return vectors, failures


def assert_right(vectors, texts, dim=8):
    for position, vector in vectors.items():
        np.testing.assert_allclose(vector, vector_of(texts[position], dim), atol=1e-6)
