"""Kernel regression and a perceptron, averaged."""

import functools

import numpy as np
import pytest
import torch

from alignkit.heads.kernel import KernelHead
from alignkit.heads.kernel_mlp import KernelMlpHead
from alignkit.heads.mlp import MlpHead
from alignkit.heads.streaming import TensorBatches
from alignkit.losses.cosine import CosineLoss
from alignkit.pairs.base import PairSplits
from alignkit.pairs.demo import load_demo
from alignkit.pairs.views import take_pairs
from alignkit.training.device import choose_device
from alignkit.training.fit import Fitter
from alignkit.training.recipe import Recipe
from alignkit.vectors import cosine, l2_normalize

SIZES = {"landmarks": 300, "hidden": 512}


def tensors(pairs):
    return (torch.tensor(np.array(part), dtype=torch.float32) for part in (pairs.student, pairs.teacher))


@pytest.fixture(scope="module")
def splits():
    demo = load_demo("static")
    return PairSplits(take_pairs(demo.train, np.arange(0, len(demo.train), 2)), demo.validation, demo.test)


@pytest.fixture(scope="module")
def fitted(splits):
    recipe = Recipe(batch_size=128, max_epochs=12, lr=4e-3, weight_decay=2.0, noise=0.1, schedule="one_cycle")
    make = functools.partial(KernelMlpHead, **SIZES)
    return Fitter(make, CosineLoss(), recipe, choose_device("cpu", "32-true"), init="closed_form").fit(splits)


def test_is_nearer_to_the_teacher_than_either_alone(splits, fitted):
    student, teacher = tensors(splits.test)
    head = fitted.head
    both, *alone = (float(cosine(one(student), teacher).mean()) for one in (head, head.kernel, head.mlp))
    assert fitted.best_epoch > 0
    assert both > max(alone) + 0.005


def test_the_members_have_equal_weight(splits, fitted):
    """A perceptron trained by cosines gives vectors of any length."""
    student, _ = tensors(splits.test)
    head = fitted.head
    near, learnt = head.kernel(student), head.mlp(student)
    assert learnt.norm(dim=1).mean() > 1.5 * near.norm(dim=1).mean()
    rest = head(student) - near
    assert rest.norm(dim=1).mean() == pytest.approx(float(near.norm(dim=1).mean()), rel=0.15)
    torch.testing.assert_close(l2_normalize(rest), l2_normalize(learnt), rtol=0, atol=1e-4)


def test_the_kernel_is_the_one_that_is_fitted_alone(splits, fitted):
    train, held_out = (TensorBatches(*tensors(part)) for part in (splits.train, splits.validation))
    alone = KernelHead(splits.train.student_dim, splits.train.teacher_dim, landmarks=SIZES["landmarks"])
    chosen = alone.solve(train, held_out)
    assert {f"kernel_{name}": value for name, value in chosen.items()}.items() <= fitted.chosen.items()
    student, _ = tensors(splits.test)
    torch.testing.assert_close(2 * fitted.kept.kernel(student), alone(student), rtol=0, atol=1e-4)


def test_while_training_it_is_the_perceptron_alone():
    head = KernelMlpHead(6, 5, landmarks=8, hidden=9).train()
    alone = MlpHead(6, 5, hidden=9)
    alone.load_state_dict(head.mlp.state_dict())
    student = torch.randn(4, 6)
    torch.testing.assert_close(head(student), alone(student))
    assert not any(parameter.requires_grad for parameter in head.kernel.parameters())
    assert head.mlp_length < 1  # followed


def test_a_query_costs_both_members_whatever_the_mode():
    head = KernelMlpHead(6, 5, landmarks=8, hidden=9)
    cost = head.train().cost()
    assert head.training and cost == head.eval().cost()
    members = head.kernel.cost()["flops_per_query"] + head.mlp.cost()["flops_per_query"]
    assert cost["flops_per_query"] == members
