"""A model that was replaced behind its name is named."""

import numpy as np
import pytest
from small_embedder import SmallEmbedder

from alignkit.embedders.base import embed_all
from alignkit.errors import ArtifactError
from alignkit.runs.held_out_sample import Canary
from alignkit.watching.replaced import check_unreplaced, lowest_cosine, role_of_training

VECTORS = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)


NAMED = {"model": "m"}


def test_rounding_and_another_length_are_no_other_model():
    lowest = lowest_cosine("student", VECTORS, VECTORS.astype(np.float16).astype(np.float32) * 3)
    check_unreplaced("student", lowest, NAMED)
    assert lowest > 0.9999


@pytest.mark.parametrize("now", [VECTORS[::-1], VECTORS + 0.2, np.roll(VECTORS, 1, axis=1)])
def test_another_model_is_named(now):
    """Another pooling or template gives vectors that are nearly the same."""
    with pytest.raises(ArtifactError, match=r"the teacher was replaced: .*lowest cosine"):
        check_unreplaced("teacher", lowest_cosine("teacher", VECTORS, now), NAMED)
    with pytest.raises(ArtifactError, match="8-d vectors now, and gave 16-d"):
        lowest_cosine("teacher", VECTORS, now[:, :8])


def test_vectors_of_no_named_model_may_have_been_rounded():
    check_unreplaced("teacher", 0.95, None)  # out of an index of few bits
    with pytest.raises(ArtifactError, match="the teacher was replaced"):
        check_unreplaced("teacher", 0.6, None)


class Prompted(SmallEmbedder):
    def embed(self, texts, role="document"):
        yield from super().embed([f"{role}: {text}" for text in texts], role)


@pytest.mark.parametrize("made_as", ["query", "document"])
def test_the_prompt_that_made_the_training_vectors_is_found(made_as):
    teacher, texts = Prompted(), ("one text", "another text")
    vectors = embed_all(teacher, texts, made_as)
    teacher.asked.clear()
    role, lowest = role_of_training(["query", "document"], teacher, Canary(texts, vectors, vectors))
    assert role == made_as and lowest > 0.999
    assert len(teacher.asked) == (2 if made_as == "query" else 4)  # no call more than it takes
