"""A saved head gives what torch gives, for every head that has a YAML: by NumPy where it has a form."""

import hashlib
import json

import numpy as np
import pytest
import torch
from small_heads import build_head, head_kinds

from alignkit.artifact import Artifact, load_artifact, save_artifact
from alignkit.errors import ArtifactError
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.heads.linear import LinearHead
from alignkit.heads.numpy_forms import FORMS
from alignkit.heads.numpy_layers import gelu
from alignkit.heads.stored_parts import StoredParts
from alignkit.parts import settings_of_part

STUDENT_DIM, TEACHER_DIM = 12, 20


def students(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, STUDENT_DIM, generator=generator) + 0.3


STUDENT = students(70)


def make(kind, **arguments):
    """A small head with random numbers everywhere: zeros would hide a mistake."""
    generator = torch.Generator().manual_seed(1)
    head = build_head(kind, STUDENT_DIM, TEACHER_DIM).eval()
    if arguments:
        head = type(head)(**{**head.arguments(), **arguments}).eval()
    for tensor in head.state_dict().values():
        drawn = 0.3 * torch.randn(tensor.shape, generator=generator)
        tensor.copy_(drawn if tensor.dim() else drawn.abs() + 0.1)
    return head


def agree(got, expected):
    np.testing.assert_allclose(got, expected.numpy(), atol=1e-5 * float(expected.abs().max()))


def whitening():
    torch.manual_seed(5)
    return LinearHead(TEACHER_DIM, TEACHER_DIM).eval()


@pytest.mark.parametrize("name", head_kinds())
def test_it_gives_what_torch_gives_for_queries_and_for_documents(name, tmp_path):
    parts = {"query_head": make(name), "whitening": whitening()}
    loaded = load_artifact(save_artifact(Artifact(parts), tmp_path))
    # a head without a form is applied by torch, to the same result
    assert isinstance(loaded.parts, StoredParts) == (parts["query_head"].kind() in FORMS)
    assert (loaded.student_dim, loaded.teacher_dim) == (STUDENT_DIM, TEACHER_DIM)
    with torch.no_grad():
        plain = parts["query_head"](STUDENT)
        expected = parts["whitening"](plain)
    agree(loaded.align(STUDENT.numpy(), "document"), plain)
    agree(loaded.align(STUDENT.numpy(), "query"), expected)
    assert loaded.align(STUDENT.numpy()[:0]).shape == (0, TEACHER_DIM)
    # the modules are there for whoever asks for them, and are the same head
    with torch.no_grad():
        agree(loaded.query_head(STUDENT), expected)


def test_a_head_without_a_form_gives_the_same_by_torch(tmp_path, monkeypatch):
    folder = save_artifact(Artifact({"query_head": make("mlp"), "whitening": whitening()}), tmp_path)
    by_numpy = load_artifact(folder)
    monkeypatch.delitem(FORMS, "mlp")
    by_torch = load_artifact(folder)
    assert not isinstance(by_torch.parts, StoredParts)
    for role in ("query", "document"):
        agree(by_numpy.align(STUDENT.numpy(), role), torch.from_numpy(by_torch.align(STUDENT.numpy(), role)))


def test_what_auto_chooses_from_needs_no_torch():
    assert set(settings_of_part("model", "auto", 0)["candidates"]) <= set(FORMS)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("mlp", {"depth": 3}),
        ("mlp", {"normalise": False}),
        ("low_rank", {"rank": 5}),
        ("linear", {"ridge_lambda": 2.0}),
    ],
)
def test_settings_of_a_head_are_kept(name, arguments, tmp_path):
    head = make(name, **arguments)
    loaded = load_artifact(save_artifact(Artifact({"query_head": head}), tmp_path))
    assert isinstance(loaded.parts, StoredParts)
    with torch.no_grad():
        agree(loaded.align(STUDENT.numpy()), head(STUDENT))


def test_a_head_of_its_own_for_documents_and_an_estimate_of_confidence(tmp_path):
    estimate = ConfidenceEstimate(STUDENT_DIM, anchors=40)
    queries = students(300, 3)
    estimate.fit(queries, torch.sigmoid(2 * queries[:, 0]), students(90, 4))
    parts = {"query_head": make("linear"), "document_head": make("mlp"), "confidence": estimate.eval()}
    loaded = load_artifact(save_artifact(Artifact(parts), tmp_path))
    with torch.no_grad():
        for role in ("query", "document"):
            agree(loaded.align(STUDENT.numpy(), role), parts[f"{role}_head"](STUDENT))
        unseen = students(200, 9)
        sure = estimate(unseen)
    agree(loaded.confidence_in(unseen.numpy()), sure)
    assert len(sure.unique()) > 20
    assert loaded.confidence_in(unseen.numpy()[:0]).shape == (0,)
    without = load_artifact(save_artifact(Artifact({"query_head": make("linear")}), tmp_path / "without"))
    assert without.confidence_in(unseen.numpy()) is None


def test_gelu_is_torchs_up_to_a_millionth():
    values = torch.linspace(-9, 9, 4001).repeat(3, 1)
    np.testing.assert_allclose(gelu(values.numpy().copy()), torch.nn.functional.gelu(values).numpy(), atol=1e-6)


def test_the_digest_is_that_of_the_file(tmp_path):
    artifact = Artifact({"query_head": make("mlp"), "whitening": whitening()})
    save_artifact(artifact, tmp_path)
    content = (tmp_path / "head.safetensors").read_bytes()
    assert load_artifact(tmp_path).weights() == content == artifact.weights()
    assert load_artifact(tmp_path).digest() == artifact.digest() == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_numbers_than_float32_are_left_to_torch(dtype, tmp_path):
    head = make("linear").to(dtype)
    loaded = load_artifact(save_artifact(Artifact({"query_head": head}), tmp_path))
    assert loaded.head.projection.weight.dtype == dtype
    with torch.no_grad():
        np.testing.assert_array_equal(loaded.align(STUDENT.numpy()), head(STUDENT).float().numpy())


def test_an_argument_that_no_form_knows_is_left_to_torch(tmp_path):
    """A later version may do something else with it."""
    save_artifact(Artifact({"query_head": make("linear")}), tmp_path)
    path = tmp_path / "head.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    del described["parts"]["query_head"]["arguments"]["ridge_lambda"]
    path.write_text(json.dumps(described), encoding="utf-8")
    loaded = load_artifact(tmp_path)
    assert not isinstance(loaded.parts, StoredParts)
    np.testing.assert_allclose(loaded.align(STUDENT.numpy()), make("linear")(STUDENT).detach().numpy(), atol=1e-6)


def test_a_description_of_a_giant_is_refused_at_once(tmp_path):
    """A small file must not make a long list of layers."""
    save_artifact(Artifact({"query_head": make("mlp")}), tmp_path)
    path = tmp_path / "head.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    described["parts"]["query_head"]["arguments"]["depth"] = 10**12
    path.write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(ArtifactError, match="depth=1000000000000, but there are"):
        load_artifact(tmp_path)
