import hashlib
import json
import zipfile

import pytest
import torch

from alignkit import artifact as artifact_module
from alignkit.aligned import head_for
from alignkit.artifact import Artifact, load_artifact, load_head, save_artifact, save_head
from alignkit.errors import ArtifactError
from alignkit.heads.confidence import ConfidenceEstimate
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead


@pytest.fixture
def saved(tmp_path):
    head = LinearHead(4, 6, ridge_lambda=0.5)
    return head, save_head(head, tmp_path / "head", student_identity={"model": "学生"}, metrics={"rows": {}})


def change(folder, **fields):
    path = folder / "head.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | fields), encoding="utf-8")


def test_what_is_saved_comes_back(saved):
    head, folder = saved
    artifact = load_artifact(folder)
    student = torch.randn(5, 4)
    assert torch.equal(artifact.head(student), head(student))
    assert artifact.head.arguments() == {"student_dim": 4, "teacher_dim": 6, "ridge_lambda": 0.5}
    assert artifact.student_identity == {"model": "学生"} and artifact.teacher_identity is None
    assert not artifact.head.training and not artifact.head.projection.weight.requires_grad
    assert sorted(path.name for path in folder.iterdir()) == ["head.json", "head.safetensors"]


def test_a_run_folder_is_as_good_as_its_head(saved):
    assert torch.equal(load_head(saved[1].parent).projection.weight, saved[0].projection.weight)


def test_several_parts(tmp_path):
    parts = {"query_head": LinearHead(4, 6), "document_head": MlpHead(4, 6, hidden=3)}
    loaded = load_artifact(save_artifact(Artifact(parts), tmp_path))
    student = torch.randn(5, 4)
    for name, part in parts.items():
        assert torch.equal(loaded.parts[name](student), part(student))


def test_queries_go_through_the_whitening_and_documents_do_not(tmp_path):
    parts = {"query_head": MlpHead(4, 6, hidden=3).eval(), "whitening": LinearHead(6, 6).eval()}
    loaded = load_artifact(save_artifact(Artifact(parts), tmp_path))
    student = torch.randn(5, 4)
    plain = parts["query_head"](student)
    torch.testing.assert_close(loaded.query_head(student), parts["whitening"](plain))
    torch.testing.assert_close(load_head(tmp_path)(student), parts["whitening"](plain))
    assert torch.equal(head_for(loaded, "document")(student), plain)
    assert head_for(loaded, "query") is loaded.query_head
    assert loaded.query_head.cost() == loaded.head.cost()


def test_without_a_whitening_both_are_the_same_head(saved):
    artifact = load_artifact(saved[1])
    assert artifact.query_head is artifact.head


@pytest.mark.parametrize("part", [LinearHead(5, 6), LinearHead(6, 5), MlpHead(6, 6, hidden=3)])
def test_a_whitening_that_does_not_fit_behind_the_head_is_refused(part, tmp_path):
    save_artifact(Artifact({"query_head": LinearHead(4, 6), "whitening": part}), tmp_path)
    with pytest.raises(ArtifactError, match="whitening: expected a linear map of 6 numbers to as many"):
        load_artifact(tmp_path)


def test_changed_weights_are_refused(saved):
    path = saved[1] / "head.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="sha256 differs"):
        load_head(saved[1])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"format_version": 2}, "format 2, this alignkit .* reads format 1; upgrade"),
        ({"parts": {"query_head": {"kind": "os", "arguments": {}}}}, "unknown head 'os'"),
        ({"parts": {"query_head": {"kind": "../evil", "arguments": {}}}}, "unknown head"),
        ({"parts": {"query_head": {"kind": "base", "arguments": {}}}}, "unknown head 'base'"),
        (
            {"parts": {"query_head": {"kind": "linear", "arguments": {"student_dim": 5, "teacher_dim": 6}}}},
            r"query_head: a linear part with these arguments has projection.weight of shape \(6, 5\), the weights have "
            r"\(6, 4\)\); copy both from the same run again, or train again",
        ),
        ({"parts": {"query_head": {"kind": "linear", "arguments": {"nonesuch": 5}}}}, "do not describe"),
        ({"parts": {}}, "names no query_head"),
        ({"parts": 3}, "do not describe"),
    ],
)
def test_a_description_that_was_tampered_with_is_refused(saved, fields, says):
    change(saved[1], **fields)
    with pytest.raises(ArtifactError, match=says):
        load_head(saved[1])


def weights_of(folder, change_them):
    """Save other weights under a hash that fits them, as somebody else's program might."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "head.safetensors")
    change_them(tensors)
    save_file(tensors, folder / "head.safetensors")
    change(folder, weights_sha256=hashlib.sha256((folder / "head.safetensors").read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("change_them", "says"),
    [
        (
            lambda tensors: tensors.pop("query_head.projection.bias"),
            "has projection.bias, and there are no such weights",
        ),
        (
            lambda tensors: tensors.update({"query_head.extra": torch.zeros(2)}),
            "has no extra, and there are such weights",
        ),
        (
            lambda tensors: tensors.update({"query_head.projection.bias": torch.zeros(6, 1)}),
            r"has projection.bias of shape \(6,\), the weights have \(6, 1\)",
        ),
        (
            lambda tensors: tensors.update({"query_head.projection.bias": torch.zeros(6, dtype=torch.int64)}),
            "has projection.bias of type torch.float32, the weights have torch.int64",
        ),
        (
            lambda tensors: tensors.update({"query_head.projection.bias": torch.zeros(6, dtype=torch.float16)}),
            "has numbers of one type, the weights have torch.float16 and torch.float32",
        ),
    ],
)
def test_weights_of_another_head_are_told_in_one_line(change_them, says, saved):
    weights_of(saved[1], change_them)
    with pytest.raises(ArtifactError, match=says) as caught:
        load_head(saved[1])
    assert "\n" not in str(caught.value) and "train again" in str(caught.value)


@pytest.mark.parametrize("largest", [3e38, -2e19])
def test_weights_whose_squares_overflow_are_refused(largest, saved):
    def overflowing(tensors):
        tensors["query_head.projection.weight"][0, 0] = largest

    weights_of(saved[1], overflowing)
    with pytest.raises(ArtifactError, match="whose square is infinite in float32"):
        load_head(saved[1])


def test_an_estimate_of_confidence_is_no_head():
    with pytest.raises(ArtifactError, match="query_head: expected a head, got a part of the kind 'confidence'"):
        Artifact({"query_head": ConfidenceEstimate(4, anchors=5)})
    with pytest.raises(ArtifactError, match="confidence: expected an estimate of confidence"):
        Artifact({"query_head": LinearHead(4, 6), "confidence": LinearHead(4, 1)})


def test_a_confidence_that_an_older_version_saved(tmp_path):
    parts = {"query_head": LinearHead(4, 6).eval(), "confidence": ConfidenceEstimate(4, anchors=5).eval()}
    save_artifact(Artifact(parts), tmp_path)
    described = json.loads((tmp_path / "head.json").read_text(encoding="utf-8"))["parts"]
    described["confidence"]["arguments"]["teacher_dim"] = 1
    change(tmp_path, parts=described)
    assert load_artifact(tmp_path).confidence.anchors == 5


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
def test_a_broken_description_is_refused(saved, content):
    (saved[1] / "head.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="not readable as a head's description"):
        load_head(saved[1])


def test_missing_files_are_named(saved, tmp_path):
    (saved[1] / "head.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"head\.safetensors: .*copy the whole folder"):
        load_head(saved[1])
    with pytest.raises(ArtifactError, match="expected a run folder or its head/"):
        load_head(tmp_path / "nowhere")


PARTS = {
    "query_head": lambda: LinearHead(4, 6),
    "document_head": lambda: MlpHead(4, 6, hidden=3),
    "confidence": lambda: ConfidenceEstimate(4, anchors=5),
    "whitening": lambda: LinearHead(6, 6),
}


def last_number(part, value, dtype=torch.float32):
    with torch.no_grad():
        part.to(dtype)
        list(part.state_dict().values())[-1].view(-1)[-1] = value
    return part


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", PARTS)
def test_no_part_that_is_not_finite_is_saved(tmp_path, name, value):
    parts = {"query_head": PARTS["query_head"](), name: last_number(PARTS[name](), value)}
    with pytest.raises(ArtifactError, match=f"not saved: {name}'s .* holds NaN or infinite numbers.*train the head"):
        save_artifact(Artifact(parts), tmp_path / "head")
    assert not (tmp_path / "head").exists()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_overflows_in_half_precision_is_not_saved(tmp_path, dtype):
    head = last_number(LinearHead(4, 6), 3.4e38).to(dtype)
    assert not head.projection.bias.isfinite().all()
    with pytest.raises(ArtifactError, match="query_head's projection.bias holds NaN or infinite"):
        save_head(head, tmp_path)
    save_head(LinearHead(4, 6).to(dtype), tmp_path)  # the type itself is no fault
    assert load_head(tmp_path).projection.weight.dtype == dtype


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("bundled", [True, False])
def test_no_part_that_is_not_finite_is_loaded(tmp_path, monkeypatch, name, bundled):
    parts = {"query_head": PARTS["query_head"](), name: last_number(PARTS[name](), float("nan"))}
    monkeypatch.setattr(artifact_module, "check_finite", lambda parts, name: None)  # as an older version saved it
    path = save_artifact(Artifact(parts), tmp_path / "head")
    monkeypatch.undo()
    if bundled:
        path = tmp_path / "head.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as bundle:
            for file in (tmp_path / "head").iterdir():
                bundle.write(file, f"head/{file.name}")
    with pytest.raises(ArtifactError, match=f"{name}'s .* holds NaN or infinite numbers") as refused:
        load_artifact(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_description_with_numbers_that_are_none_is_refused(saved, constant):
    path = saved[1] / "head.json"
    path.write_text(path.read_text(encoding="utf-8").replace("0.5", constant), encoding="utf-8")
    with pytest.raises(ArtifactError, match="not readable as a head's description"):
        load_head(saved[1])


@pytest.mark.parametrize("name", ["student_identity", "teacher_identity", "metrics", "meta"])
@pytest.mark.parametrize("value", [3, "x", ["a"], True])
def test_what_is_told_of_a_head_is_settings_or_refused(saved, name, value):
    path = saved[1] / "head.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**description, name: value}), encoding="utf-8")
    with pytest.raises(ArtifactError, match=f"{name}: expected settings by name") as refused:
        load_head(saved[1])
    assert "\n" not in str(refused.value)
