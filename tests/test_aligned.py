"""Student and head as one embedder."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import alignkit
from alignkit.aligned import AlignedEmbedder
from alignkit.artifact import Artifact, save_artifact
from alignkit.embedders.base import EmbeddedBatch
from alignkit.errors import ArtifactError, EmbedderError
from alignkit.heads.linear import LinearHead

DIM = 4


class Letters:
    """Counts letters; a text that starts with `bad` has no vector. Batches come in an order of their own."""

    dim = DIM

    def __init__(self, model="letters", prompts=("", ""), width=DIM):
        self.model, self.prompts, self.width, self.roles, self.closed = model, prompts, width, [], False

    def identity(self, role="document"):
        return {"backend": "letters", "model": self.model, "prompt": self.prompts[role == "document"]}

    settings = identity

    def provenance(self):
        return {"version": "1"}

    def close(self):
        self.closed = True

    def embed(self, texts, role="document"):
        self.roles.append(role)
        for row in reversed(range(len(texts))):
            if texts[row].startswith("bad"):
                yield EmbeddedBatch(np.empty(0, np.int64), np.empty((0, self.width), np.float32), {row: "no vector"})
                continue
            vector = np.ones((1, self.width), dtype=np.float32)
            for letter in texts[row]:
                vector[0, ord(letter) % self.width] += 1
            yield EmbeddedBatch(np.array([row]), vector, {})


def head(seed=0, dtype=torch.float32):
    torch.manual_seed(seed)
    return LinearHead(DIM, 3).eval().requires_grad_(False).to(dtype)


@pytest.fixture
def artifact():
    return Artifact({"query_head": head()}, Letters().identity(), {"model": "teacher"})


def test_vectors_are_the_heads_normalised_and_in_order(artifact):
    texts = ["abc", "a longer text", "z"]
    aligned = AlignedEmbedder(artifact, Letters())
    student = np.concatenate([batch.vectors for batch in Letters().embed(texts)])[::-1].copy()
    expected = torch.nn.functional.normalize(artifact.head(torch.from_numpy(student)), dim=1)
    got = aligned.encode(texts)
    assert got.dtype == np.float32
    assert got.shape == (3, aligned.dim)
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-7)
    np.testing.assert_array_equal(aligned.encode(["z"])[0], got[2])
    assert aligned.encode([]).shape == (0, 3)


def test_queries_are_whitened_and_documents_are_not(artifact):
    torch.manual_seed(3)
    whitening = LinearHead(3, 3).eval().requires_grad_(False)
    whitened = AlignedEmbedder(replace(artifact, parts={**artifact.parts, "whitening": whitening}), Letters())
    plain, texts = AlignedEmbedder(artifact, Letters()), ["abc", "z"]
    np.testing.assert_array_equal(whitened.encode(texts, "document"), plain.encode(texts, "document"))
    student = np.concatenate([batch.vectors for batch in Letters().embed(texts)])[::-1].copy()
    expected = torch.nn.functional.normalize(whitening(artifact.head(torch.from_numpy(student))), dim=1)
    np.testing.assert_allclose(whitened.encode(texts), expected.numpy(), atol=1e-6)
    # a cache must not give one for the other
    assert whitened.identity("query") != whitened.identity("document")
    assert plain.identity("query") == plain.identity("document")


def test_one_bad_text_is_counted_and_named(artifact):
    aligned = AlignedEmbedder(artifact, Letters())
    with pytest.raises(EmbedderError, match="2 of 3 texts have no vector; the first is text 1: no vector"):
        aligned.encode(["a", "bad one", "bad two"])
    batches = list(aligned.embed(["a", "bad one"]))
    assert [dict(batch.failures) for batch in batches] == [{1: "no vector"}, {}]


def test_load_from_disk_and_from_the_top(artifact, tmp_path):
    save_artifact(artifact, tmp_path / "run" / "head")
    aligned = alignkit.AlignedEmbedder.load(tmp_path / "run", student=Letters())
    np.testing.assert_array_equal(aligned.encode(["abc"]), AlignedEmbedder(artifact, Letters()).encode(["abc"]))
    assert aligned.identity()["digest"] == artifact.digest()
    assert aligned.provenance()["student"] == {"version": "1"}
    aligned.close()
    assert aligned.student.closed


def test_another_student_is_refused_or_warned_of(artifact, caplog):
    with pytest.raises(ArtifactError, match="model: expected 'letters', got 'numbers'.*allow_student_mismatch=true"):
        AlignedEmbedder(artifact, Letters("numbers"))
    AlignedEmbedder(artifact, Letters("numbers"), allow_student_mismatch=True)
    assert "going on, as allow_student_mismatch=true says" in caplog.text


def test_bare_vectors_cannot_be_compared_and_that_is_said(caplog):
    AlignedEmbedder(Artifact({"query_head": head()}), Letters())
    assert "trained on bare vectors" in caplog.text


def test_another_width_is_refused_always(artifact):
    student = Letters()
    student.dim = DIM + 1
    with pytest.raises(ArtifactError, match="5-d vectors, this head expects 4-d"):
        AlignedEmbedder(artifact, student, allow_student_mismatch=True)


def test_a_width_that_changes_later_is_noticed(artifact):
    with pytest.raises(EmbedderError, match="width 5, the head expects 4"):
        AlignedEmbedder(artifact, Letters(width=5)).encode(["a"])


@pytest.mark.parametrize("role", ["query", "document"])
def test_the_prompt_of_training_is_used_for_all_texts(role):
    prompts = ("query: ", "passage: ")
    student = Letters(prompts=prompts)
    artifact = Artifact({"query_head": head()}, student.identity(role))
    aligned = AlignedEmbedder(artifact, student)
    aligned.encode(["a"], role="query")
    aligned.encode(["a"], role="document")
    assert student.roles == [role, role]


def test_documents_have_a_head_of_their_own_where_there_is_one(artifact):
    both = Artifact({"query_head": head(0), "document_head": head(1)}, artifact.student_identity)
    aligned = AlignedEmbedder(both, Letters())
    other = AlignedEmbedder(Artifact({"query_head": head(1)}, artifact.student_identity), Letters())
    np.testing.assert_array_equal(aligned.encode(["abc"], role="document"), other.encode(["abc"]))
    np.testing.assert_array_equal(aligned.encode(["abc"]), AlignedEmbedder(artifact, Letters()).encode(["abc"]))
    assert aligned.identity("document") != aligned.identity("query")


def test_a_head_in_half_precision_gives_float32(artifact):
    half = Artifact({"query_head": head(dtype=torch.bfloat16)}, artifact.student_identity)
    got = AlignedEmbedder(half, Letters()).encode(["abc"])
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, AlignedEmbedder(artifact, Letters()).encode(["abc"]), atol=2e-2)


def test_without_confidence_there_is_none(artifact):
    aligned = AlignedEmbedder(artifact, Letters())
    assert not aligned.estimates_confidence
    assert aligned.confidence(np.ones((2, DIM), np.float32)) is None


def test_numbers_that_overflow_in_the_head_are_no_vectors(artifact):
    with torch.no_grad():
        artifact.head.projection.weight.fill_(3e38)
    embedder = AlignedEmbedder(artifact, Letters())
    with pytest.raises(
        EmbedderError, match="numbers overflow in the head for 2 of 2 vectors.*the student that it was trained"
    ):
        embedder.align(np.full((2, DIM), 7, dtype=np.float32))
    with pytest.raises(EmbedderError, match="numbers overflow in the head"):
        embedder.encode(["abc"])


def test_a_length_that_overflows_is_no_zero_vector(artifact):
    """Divided by an infinite length, the vector would be zero and look well."""
    with torch.no_grad():
        artifact.head.projection.weight.fill_(3e19)
    with pytest.raises(EmbedderError, match="numbers overflow in the head for 1 of 1 vectors"):
        AlignedEmbedder(artifact, Letters()).encode(["ab", "c"])


class Behind(Letters):
    """The same behind an Ollama, which may have another model under the name by now."""

    def __init__(self, weights="1" * 64, digest="a" * 64, model="letters"):
        super().__init__(model)
        self.first = self.now = {"digest": digest, "weights": weights, "parameters": {}}

    def identity(self, role="document"):
        return {**super().identity(role), "backend": "ollama", **self.first}

    def current_identity(self, role="document"):
        return {**super().identity(role), "backend": "ollama", **self.now}


def test_a_head_knows_its_student_whatever_it_is_called_and_by_the_manifest_of_older_versions():
    older = {"backend": "ollama", "model": "library/Letters:latest", "prompt": "", "digest": "a" * 64}
    AlignedEmbedder(Artifact({"query_head": head()}, older), Behind())
    AlignedEmbedder(Artifact({"query_head": head()}, Behind().identity()), Behind(digest="b" * 64))
    with pytest.raises(ArtifactError, match=r"weights: expected '111111111111', got '222222222222'"):
        AlignedEmbedder(Artifact({"query_head": head()}, Behind().identity()), Behind(weights="2" * 64))


def test_a_student_that_was_replaced_behind_its_head_is_noticed():
    student = Behind()
    aligned = AlignedEmbedder(Artifact({"query_head": head()}, student.identity()), student)
    assert aligned.changes_of_student() == []
    student.now = {"digest": "b" * 64, "weights": "1" * 64, "parameters": {}}  # another PARAMETER
    assert aligned.changes_of_student() == []
    student.now = {"digest": "c" * 64, "weights": "2" * 64, "parameters": {}}
    assert aligned.changes_of_student() == ["weights: expected '111111111111', got '222222222222'"]
