"""The perceptron beside ridge regression, and what older versions saved in its place."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save
from torch import nn

from alignkit.artifact import load_head, save_head
from alignkit.heads.base import head_class
from alignkit.heads.linear import LinearHead
from alignkit.heads.mlp import MlpHead
from alignkit.heads.residual import ResidualHead
from alignkit.heads.streaming import TensorBatches
from alignkit.vectors import l2_normalize

STUDENT_DIM, TEACHER_DIM = 15, 22


def make_pairs(count=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student = torch.randn(count, STUDENT_DIM, generator=generator) + 0.5
    mixing = torch.randn(STUDENT_DIM, TEACHER_DIM, generator=torch.Generator().manual_seed(9))
    return l2_normalize(student), l2_normalize(torch.tanh(student @ mixing))


@pytest.mark.parametrize("kind", ["mlp", "residual"])
def test_starts_at_ridge(kind):
    pairs = TensorBatches(*make_pairs())
    head, linear = head_class(kind)(STUDENT_DIM, TEACHER_DIM, hidden=8), LinearHead(STUDENT_DIM, TEACHER_DIM)
    assert head.solve(pairs) == linear.solve(pairs)
    torch.testing.assert_close(head(make_pairs(seed=1)[0]), linear(make_pairs(seed=1)[0]), rtol=1e-4, atol=1e-5)
    assert all(parameter.requires_grad for parameter in head.parameters())


def test_a_frozen_linear_part_is_left_alone():
    head = ResidualHead(STUDENT_DIM, TEACHER_DIM, hidden=8, train_skip=False)
    assert not any(weight.requires_grad for weight in head.skip.parameters())
    assert all(weight.requires_grad for weight in head.layers.parameters())


@pytest.mark.parametrize("start", ["solve", "look"])
def test_hidden_layers_see_components_of_about_one(start):
    student, teacher = make_pairs()
    head = MlpHead(STUDENT_DIM, TEACHER_DIM, hidden=8)
    getattr(head, start)(TensorBatches(student, teacher, 64))
    seen = head.standardise(student)
    assert seen.mean(dim=0).abs().max() < 1e-5
    assert float(seen.square().mean()) == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("scale", [1e-3, 20.0, "each its own"])
def test_the_lengths_of_the_students_make_no_difference(scale):
    student, teacher = make_pairs()
    factors = torch.rand(len(student), 1) * 10 + 0.1 if scale == "each its own" else scale
    heads = MlpHead(STUDENT_DIM, TEACHER_DIM, hidden=8), MlpHead(STUDENT_DIM, TEACHER_DIM, hidden=8)
    heads[1].layers.load_state_dict(heads[0].layers.state_dict())
    heads[0].solve(TensorBatches(student, teacher))
    heads[1].solve(TensorBatches(student * factors, teacher))
    torch.testing.assert_close(heads[0](student), heads[1](student * factors), rtol=1e-4, atol=1e-5)


def test_steps_shrink_as_layers_grow():
    small, large = (MlpHead(width, 4 * width, hidden=128 * width).rates() for width in (16, 64))
    assert large["layers."] < small["layers."]
    assert large["skip."] == pytest.approx(small["skip."] / 8) and large["layers.3."] == pytest.approx(
        small["layers.3."] / 8
    )


def write_old(folder, kind, arguments, module):
    """An artifact as versions before 1.0 wrote it."""
    weights = save({f"query_head.{name}": tensor for name, tensor in module.state_dict().items()})
    about = {
        "format_version": 1, "alignkit_version": "0.9.0", "student_dim": STUDENT_DIM, "teacher_dim": TEACHER_DIM,
        "parts": {"query_head": {"kind": kind, "arguments": arguments}}, "student_identity": None,
        "teacher_identity": None, "metrics": {}, "meta": {}, "weights_sha256": hashlib.sha256(weights).hexdigest(),
    }  # fmt: skip
    folder.mkdir()
    (folder / "head.safetensors").write_bytes(weights)
    (folder / "head.json").write_text(json.dumps(about), encoding="utf-8")


class OldMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(STUDENT_DIM, 8), nn.GELU(), nn.Dropout(0.1), nn.Linear(8, 8), nn.GELU(), nn.Dropout(0.1),
            nn.Linear(8, TEACHER_DIM),
        )  # fmt: skip

    def forward(self, student):
        return self.layers(student)


class OldResidual(nn.Module):
    def __init__(self):
        super().__init__()
        self.skip, self.correction = LinearHead(STUDENT_DIM, TEACHER_DIM), OldMlp()

    def forward(self, student):
        return self.skip(student) + self.correction(student)


@pytest.mark.parametrize(
    ("kind", "module", "more"),
    [("mlp", OldMlp, {}), ("residual", OldResidual, {"train_skip": True, "ridge_lambda": 0.01})],
)
def test_what_older_versions_saved_maps_as_before_and_is_saved_again(tmp_path, kind, module, more):
    old = module().eval()
    arguments = {"student_dim": STUDENT_DIM, "teacher_dim": TEACHER_DIM, "hidden": 8, "depth": 2, "dropout": 0.1}
    write_old(tmp_path / "old", kind, arguments | more, old)
    student = 3 * make_pairs(9)[0]  # of another length than 1, which the old head saw
    head = load_head(tmp_path / "old")
    torch.testing.assert_close(head(student), old(student))
    save_head(head, tmp_path / "again")
    torch.testing.assert_close(load_head(tmp_path / "again")(student), old(student))
