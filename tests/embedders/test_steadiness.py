"""How alike two vectors of a text must be, by what a server does with one text twice."""

import numpy as np
import pytest
from small_embedder import SmallEmbedder

from alignkit.embedders.steadiness import ALIKE, HARDLY_ALIKE, Steadiness

TEXTS = ["reset my password", "where is the parcel", "book a table", "how do I pay", "open the gate"]


class LeaningEmbedder(SmallEmbedder):
    """Its vectors lean where other texts are embedded beside them."""

    def __init__(self, lean):
        super().__init__()
        self.lean = lean

    def embed(self, texts, role="document"):
        for batch in super().embed(texts, role):
            if len(texts) > 1:
                batch.vectors[:] += self.lean * np.roll(batch.vectors, 1, axis=0)
            yield batch


@pytest.mark.parametrize("cosine", [1.0, ALIKE, HARDLY_ALIKE - 0.001, 0.3])
def test_what_is_clear_is_not_measured(cosine):
    embedder = LeaningEmbedder(0.03)
    assert Steadiness(embedder, "query").least(cosine, TEXTS) == ALIKE
    assert embedder.asked == []


def test_a_steady_model_must_agree_as_ever():
    assert Steadiness(LeaningEmbedder(0.0), "query").least(0.995, TEXTS) == ALIKE


def test_a_model_must_agree_about_as_well_as_with_itself():
    embedder = LeaningEmbedder(0.04)
    steadiness = Steadiness(embedder, "query")
    least = steadiness.least(0.995, TEXTS)
    assert HARDLY_ALIKE <= least < ALIKE
    asked = len(embedder.asked)
    assert steadiness.least(0.996, TEXTS) == least
    assert len(embedder.asked) == asked  # measured once


def test_however_unsteady_a_model_another_one_is_told_apart():
    assert Steadiness(LeaningEmbedder(0.5), "query").least(0.991, TEXTS) == HARDLY_ALIKE
