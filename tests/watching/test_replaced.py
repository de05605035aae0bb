"""A model that was replaced behind its name is named."""

import numpy as np
import pytest
import torch

from alignkit.artifact import Artifact
from alignkit.errors import ArtifactError
from alignkit.heads.linear import LinearHead
from alignkit.watching.replaced import check_unreplaced, teacher_role

VECTORS = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)


def test_rounding_and_another_length_are_no_other_model():
    assert check_unreplaced("student", VECTORS, VECTORS.astype(np.float16).astype(np.float32) * 3) > 0.9999


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (VECTORS[::-1], "the teacher was replaced: 8 texts .*lowest cosine"),
        (VECTORS + 0.2, "the teacher was replaced"),  # another pooling or template: nearly the same vectors
        (VECTORS[:, :8], "8-d vectors now, and gave 16-d"),
    ],
)
def test_another_model_is_named(now, said):
    with pytest.raises(ArtifactError, match=said):
        check_unreplaced("teacher", VECTORS, now)


def artifact(teacher):
    torch.manual_seed(0)
    return Artifact({"query_head": LinearHead(4, 6).eval().requires_grad_(False)}, None, teacher)


def test_the_role_whose_prompt_made_the_training_vectors_is_asked():
    identities = {role: {"model": "m", "prompt": f"{role}: "} for role in ("query", "document")}
    assert teacher_role(artifact(identities["document"]), 6, identities) == "document"
    assert teacher_role(artifact(identities["query"]), 6, identities) == "query"
    same = dict.fromkeys(identities, {"model": "m"})
    assert teacher_role(artifact({"model": "m"}), 6, same) == "query"
    assert teacher_role(artifact(None), 6, identities) == "query"


@pytest.mark.parametrize(("recorded", "dim", "said"), [({"model": "other"}, 6, "another teacher"), (None, 7, "7-d")])
def test_another_teacher_is_refused_before_it_is_asked(recorded, dim, said):
    with pytest.raises(ArtifactError, match=said):
        teacher_role(artifact(recorded), dim, dict.fromkeys(("query", "document"), {"model": "m"}))
