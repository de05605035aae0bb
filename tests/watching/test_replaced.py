"""A model that was replaced behind its name is named."""

import numpy as np
import pytest
import torch
from small_embedder import SmallEmbedder

from alignkit.artifact import Artifact
from alignkit.embedders.base import embed_all
from alignkit.errors import ArtifactError
from alignkit.heads.linear import LinearHead
from alignkit.runs.held_out_sample import Canary
from alignkit.watching.replaced import check_unreplaced, lowest_cosine, role_of_training, teacher_roles

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


def artifact(teacher):
    torch.manual_seed(0)
    return Artifact({"query_head": LinearHead(4, 6).eval().requires_grad_(False)}, None, teacher)


def test_the_role_whose_prompt_made_the_training_vectors_is_asked():
    identities = {role: {"model": "m", "prompt": f"{role}: "} for role in ("query", "document")}
    assert teacher_roles(artifact(identities["document"]), 6, identities) == ["document"]
    assert teacher_roles(artifact(identities["query"]), 6, identities) == ["query"]
    same = dict.fromkeys(identities, NAMED)
    assert teacher_roles(artifact(NAMED), 6, same) == teacher_roles(artifact(None), 6, same) == ["query", "document"]


@pytest.mark.parametrize(("recorded", "dim", "said"), [({"model": "other"}, 6, "another teacher"), (None, 7, "7-d")])
def test_another_teacher_is_refused_before_it_is_asked(recorded, dim, said):
    with pytest.raises(ArtifactError, match=said):
        teacher_roles(artifact(recorded), dim, dict.fromkeys(("query", "document"), {"model": "m"}))
