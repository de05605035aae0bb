"""Models that a head was trained with, and others; of students see `test_aligned.py`."""

import pytest
import torch
from small_embedder import SmallEmbedder

from alignkit.artifact import Artifact
from alignkit.errors import ArtifactError
from alignkit.head_models import check_teacher, teacher_roles
from alignkit.heads.linear import LinearHead

MODEL = {"model": "m"}


def artifact(teacher):
    torch.manual_seed(0)
    return Artifact({"query_head": LinearHead(4, 6).eval().requires_grad_(False)}, None, teacher)


def test_the_role_whose_prompt_made_the_training_vectors_is_asked():
    identities = {role: {"model": "m", "prompt": f"{role}: "} for role in ("query", "document")}
    assert teacher_roles(artifact(identities["document"]), 6, identities) == ["document"]
    assert teacher_roles(artifact(identities["query"]), 6, identities) == ["query"]
    same = dict.fromkeys(identities, MODEL)
    assert teacher_roles(artifact(MODEL), 6, same) == teacher_roles(artifact(None), 6, same) == ["query", "document"]


@pytest.mark.parametrize(("recorded", "dim", "said"), [({"model": "other"}, 6, "another teacher"), (None, 7, "7-d")])
def test_another_teacher_is_refused_before_it_is_asked(recorded, dim, said):
    with pytest.raises(ArtifactError, match=said):
        teacher_roles(artifact(recorded), dim, dict.fromkeys(("query", "document"), {"model": "m"}))


class Prompted(SmallEmbedder):
    """Another prompt for queries than for documents."""

    def __init__(self, query, document):
        super().__init__(dim=6)
        self.prompts = {"query": query, "document": document}

    def identity(self, role="document"):
        return {**MODEL, "prompt": self.prompts[role]}


def test_documents_may_carry_another_prompt_and_queries_may_not():
    trained = artifact(Prompted("find: ", "").identity("query"))
    check_teacher(trained, Prompted("find: ", "passage: "), "query")
    check_teacher(trained, Prompted("", "find: "), "query")
    check_teacher(trained, Prompted("", "passage: "), "document")
    with pytest.raises(ArtifactError, match="another teacher .prompt: expected 'find: ', got ''"):
        check_teacher(trained, Prompted("", "passage: "), "query")


@pytest.mark.parametrize("role", ["query", "document"])
def test_another_model_or_width_is_refused_and_an_unnamed_one_is_said(role, caplog):
    with pytest.raises(ArtifactError, match="trained with another teacher .model: expected 'n', got 'm'"):
        check_teacher(artifact({"model": "n", "prompt": ""}), Prompted("", ""), role)
    wide = Prompted("", "")
    wide.dim = 7
    with pytest.raises(ArtifactError, match="7-d vectors, this head makes 6-d ones"):
        check_teacher(artifact(None), wide, role)
    assert not caplog.records
    check_teacher(artifact(None), Prompted("", ""), role)
    assert "does not say which teacher" in caplog.text
