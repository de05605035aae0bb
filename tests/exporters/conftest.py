"""Trained heads of every kind, on the demo pack's real vectors."""

import functools

import numpy as np
import pytest
import torch
from small_heads import build_head

from alignkit.artifact import Artifact
from alignkit.exporters.base import Job
from alignkit.heads.base import ClosedForm
from alignkit.heads.linear import LinearHead
from alignkit.heads.streaming import TensorBatches
from alignkit.heads.whitening import Setting, Spread, Whitenings
from alignkit.pairs.demo import load_demo


@pytest.fixture(scope="session", autouse=True)
def torch_lists_its_operators_once():
    """Each export to ONNX makes the list of all operators anew, which takes a third of its time."""
    from torch.onnx._internal.exporter import _registration

    registry = _registration.ONNXRegistry
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(registry, "from_torchlib", staticmethod(functools.cache(registry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def demo():
    return load_demo("static")


@pytest.fixture(scope="session")
def train_head(demo):
    """A head of some kind, solved on 500 real pairs where it can be, else at its random start.

    Where the closed form is only where training starts, what is learnt later starts at zero: without something learnt
    an export that forgot it would agree.
    """
    made = {}

    def train(kind):
        if kind not in made:
            torch.manual_seed(0)
            student, teacher = (
                torch.from_numpy(np.array(part[:500], dtype=np.float32))
                for part in (demo.train.student, demo.train.teacher)
            )
            head = build_head(kind, student.shape[1], teacher.shape[1])
            if isinstance(head, ClosedForm):
                head.solve(TensorBatches(student, teacher))
            if not head.closed_form_is_whole:
                before = head.eval()(student)
                for name, layer in head.named_modules():
                    if "layers" in name.split(".") and isinstance(layer, torch.nn.Linear):
                        torch.nn.init.normal_(layer.weight, std=0.3 * layer.in_features**-0.5)
                assert torch.nn.functional.cosine_similarity(before, head(student)).min() < 0.95
            made[kind] = head.eval().requires_grad_(False)
        return made[kind]

    return train


def whitening_of(demo, head):
    student, teacher = (
        torch.from_numpy(np.array(part[:500], dtype=np.float32)) for part in (demo.train.student, demo.train.teacher)
    )
    weight, bias = Whitenings(head(student), teacher, Spread.of(teacher)).map(Setting(power=0.5, centre=1.0))
    part = LinearHead(head.teacher_dim, head.teacher_dim).requires_grad_(False)
    part.projection.weight.copy_(weight)
    part.projection.bias.copy_(bias)
    return part.eval()


@pytest.fixture(scope="session")
def whitening(demo):
    """Half whitened; once for each head."""
    return functools.cache(functools.partial(whitening_of, demo))


@pytest.fixture
def make_job(demo, whitening, tmp_path):
    """A job for a head, checked on 100 real vectors."""

    def make(head, whitened=False, **about):
        parts = {"query_head": head} | ({"whitening": whitening(head)} if whitened else {})
        artifact = Artifact(parts, demo.origin.student_identity, demo.origin.teacher_identity)
        vectors = np.array(demo.test.student[:100], dtype=np.float32)
        return Job(
            **{"artifact": artifact, "origin": tmp_path, "vectors": vectors, "vectors_from": "demo pack", **about}
        )

    return make
