"""Whether a student forgot other texts: figures before and after, and what is a loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ports import deaf_port

from alignkit.artifact import Artifact
from alignkit.cache.cached_embedder import CachedEmbedder
from alignkit.cache.vector_cache import VectorCache
from alignkit.embedders.openai import OpenAIEmbedder
from alignkit.embedders.static import StaticEmbedder
from alignkit.errors import DataError
from alignkit.evaluation.forgotten import check_forgetting, forgetting
from alignkit.heads.linear import LinearHead
from alignkit.pairs.general_texts import general_texts


@pytest.fixture(scope="module")
def students(demo_set, demo_artifact, before):
    return {
        "static": (before.test.queries.student, before.artifact),
        "two_layer": (demo_set.queries.student, demo_artifact),
    }


def test_overlap_is_with_the_teachers_own_neighbours_among_the_same_texts(demo_set, demo_head, students):
    found = forgetting(demo_set.queries.teacher, students["static"], students["two_layer"], source="here")
    teacher = demo_set.queries.teacher.astype(np.float64)
    weight, bias = (part.detach().double().numpy() for part in (demo_head.projection.weight, demo_head.projection.bias))
    own = demo_set.queries.student.astype(np.float64) @ weight.T + bias
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    # leave one out, ten neighbours of each
    wanted, got = (one @ teacher.T - 9 * np.eye(len(teacher)) for one in (teacher, own))
    nearest = [np.argsort(-one, axis=1, kind="stable")[:, :10] for one in (wanted, got)]
    shares = [len(set(one) & set(other)) / 10 for one, other in zip(*nearest, strict=True)]
    assert found.texts == 600
    assert found.changes["overlap@10"].after.value == pytest.approx(np.mean(shares), abs=1e-3)
    assert found.changes["cosine_mean"].after.value == pytest.approx((own * teacher).sum(axis=1).mean(), abs=1e-4)


def test_a_loss_is_one_beyond_its_interval(demo_set, students):
    teacher = demo_set.queries.teacher
    better = forgetting(teacher, students["static"], students["two_layer"], source="here")
    worse = forgetting(teacher, students["two_layer"], students["static"], source="here")
    same = forgetting(teacher, students["static"], students["static"], source="here")
    assert better.lost == same.lost == () and set(worse.lost) == {"overlap@10", "cosine_mean"}
    for column, one in worse.changes.items():
        assert one.change.high < 0 and one.change.value == pytest.approx(one.after.value - one.before.value)
        assert better.changes[column].change.value == pytest.approx(-one.change.value)
        assert same.changes[column].change.value == 0
    assert worse.to_json()["changes"]["overlap@10"]["before"]["value"] > 0.5
    assert worse.to_json()["lost"] == ["overlap@10", "cosine_mean"]


def test_too_few_texts_or_vectors_are_refused(demo_set, students):
    few = {name: (vectors[:20], artifact) for name, (vectors, artifact) in students.items()}
    with pytest.raises(DataError, match="20 texts, at least 30"):
        forgetting(demo_set.queries.teacher[:20], few["static"], few["two_layer"], source="my file")
    with pytest.raises(DataError, match="one vector of each model"):
        forgetting(demo_set.queries.teacher, few["static"], students["two_layer"], source="my file")


@pytest.fixture(scope="module")
def same():
    """A head that changes nothing: a model is then its own teacher."""
    pytest.importorskip("wordllama")
    head = LinearHead(256, 256)
    with torch.no_grad():
        head.projection.weight.copy_(torch.eye(256))
        head.projection.bias.zero_()
    return Artifact({"query_head": head.eval().requires_grad_(False)})


def test_the_packaged_texts_are_embedded_by_all_three(same, tmp_path):
    texts, source = general_texts(())
    teacher, worse = StaticEmbedder(), StaticEmbedder(document_prompt="zebra crossing over the street: ")
    with VectorCache(tmp_path) as cache:
        found, why = check_forgetting(texts, source, CachedEmbedder(teacher, cache), (teacher, same), (worse, same))
        assert why is None and found.texts == 500 and found.source == "everyday sentences of Tatoeba"
        assert found.changes["overlap@10"].before.value == pytest.approx(1, abs=0.01)
        assert set(found.lost) == {"overlap@10", "cosine_mean"}
        assert len(cache.missing(teacher.identity(), texts)) == 0  # a second look costs no call


def test_texts_without_a_vector_of_every_model_are_left_out(same):
    texts, source = general_texts(())
    model = StaticEmbedder()
    found, _ = check_forgetting([*texts[:60], "", " "], source, model, (model, same), (model, same))
    assert found.texts == 60 and found.lost == ()
    found, why = check_forgetting([*texts[:20], *[""] * 40], source, model, (model, same), (model, same))
    assert found is None and why == "only 20 of the 60 texts have a vector of every model"


def test_a_teacher_that_does_not_answer_leaves_one_line(same):
    texts, source = general_texts(())
    model, gone = StaticEmbedder(), OpenAIEmbedder("m", f"http://127.0.0.1:{deaf_port()}/v1", retries=0)
    found, why = check_forgetting(texts, source, gone, (model, same), (model, same))
    assert found is None and why.startswith("the teacher has no vectors of these texts: ") and "\n" not in why
