"""Whether head and models belong together: asked before anything is embedded, in the same words as after."""

from __future__ import annotations

import dataclasses

import pytest
from small_embedder import SmallEmbedder

from alignkit.artifact import Artifact
from alignkit.errors import ArtifactError, EmbedderError
from alignkit.evaluation.same_models import check_fit, check_models, doubts_of
from alignkit.heads.linear import LinearHead

IDENTITIES = {f"{name}_identity": {"backend": "small", "model": name} for name in ("student", "teacher")}


@pytest.fixture
def artifact():
    return Artifact(parts={"query_head": LinearHead(16, 24)}, **IDENTITIES)


def test_another_teacher_is_refused_before_it_embeds_anything(artifact, make_retrieval):
    other = SmallEmbedder("dear")
    with pytest.raises(
        ArtifactError, match="the teacher vectors are by dear, this head was trained with teacher"
    ) as told:
        check_models(artifact, {"student": SmallEmbedder("student"), "teacher": other})
    assert other.asked == []
    made = make_retrieval()
    origin = dataclasses.replace(made.origin, **{**IDENTITIES, "teacher_identity": other.identity()})
    with pytest.raises(ArtifactError) as later:
        check_fit(artifact, dataclasses.replace(made, origin=origin))
    assert str(told.value) == str(later.value)


def test_the_heads_own_models_and_silent_servers_pass(artifact, monkeypatch):
    silent = SmallEmbedder("teacher")

    def refuse(role="document"):
        raise EmbedderError("no answer")

    monkeypatch.setattr(silent, "identity", refuse)
    check_models(artifact, {"student": SmallEmbedder("student"), "teacher": silent})
    check_models(Artifact(parts=artifact.parts), {"student": SmallEmbedder("any"), "teacher": SmallEmbedder("any")})


def test_a_head_of_unknown_models_is_doubted_where_the_vectors_are_known(artifact, make_retrieval):
    made = make_retrieval()
    known = dataclasses.replace(made, origin=dataclasses.replace(made.origin, **IDENTITIES))
    assert doubts_of(artifact, known) == []
    bare = Artifact(parts=artifact.parts)
    assert doubts_of(bare, made) == []  # nothing is known of either
    doubts = doubts_of(bare, known)
    assert len(doubts) == 2 and "the head does not say which student it was trained with" in doubts[0]
