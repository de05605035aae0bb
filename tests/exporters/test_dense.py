"""Heads as stock dense layers, which need no code of ours where they are loaded."""

import pytest
import torch

from alignkit.exporters.dense import dense_layers, normalises_first
from alignkit.heads.mlp import MlpHead
from alignkit.heads.random_features import RandomFeaturesHead
from alignkit.heads.residual import ResidualHead
from alignkit.vectors import l2_normalize


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("kind", [MlpHead, ResidualHead])
def test_a_perceptron_beside_a_linear_map_is_one_layer_more_than_it_is_deep(kind, depth, normalise):
    torch.manual_seed(0)
    head = kind(12, 20, hidden=16, depth=depth, normalise=normalise).eval().requires_grad_(False)
    for part in (*(layer for layer in head.layers if isinstance(layer, torch.nn.Linear)), head.skip):
        torch.nn.init.normal_(part.weight, std=part.in_features**-0.5)
        torch.nn.init.normal_(part.bias)
    head.standardise.mean.normal_(std=0.1)
    head.standardise.scale.fill_(0.05)
    student = torch.randn(50, 12) * torch.logspace(-2, 0, 50).unsqueeze(1)
    values = l2_normalize(student) if normalises_first(head) else student
    layers = dense_layers(head)
    for layer in layers:
        values = values @ layer.weight.T + layer.bias
        values = layer.activation()(values) if layer.activation else values
    assert normalises_first(head) is normalise
    assert [layer.activation for layer in layers] == [torch.nn.GELU] * depth + [None]
    # the student goes along as two units a dimension
    assert [len(layer.bias) for layer in layers] == [16 + 2 * 12] * depth + [20]
    # to float32: components are of size 1 and larger
    expected = head(student)
    assert ((values - expected).abs().max() / expected.abs().max()) < 1e-6


def test_cosines_are_no_such_chain():
    assert dense_layers(RandomFeaturesHead(12, 20, features=8).eval()) is None
