"""Heads as stock dense layers, which need no code of ours where they are loaded."""

import pytest
import torch

from alignkit.exporters.dense import dense_layers, normalises_first
from alignkit.heads.mlp import MlpHead
from alignkit.vectors import l2_normalize


@pytest.mark.parametrize("normalise", [True, False])
def test_a_perceptron_beside_a_linear_map_is_two_layers(normalise):
    torch.manual_seed(0)
    head = MlpHead(12, 20, hidden=16, normalise=normalise).eval().requires_grad_(False)
    for part in (head.layers[0], head.layers[-1], head.skip):
        torch.nn.init.normal_(part.weight)
        torch.nn.init.normal_(part.bias)
    head.standardise.mean.normal_(std=0.1)
    head.standardise.scale.fill_(0.05)
    student = torch.randn(50, 12) * torch.logspace(-2, 0, 50).unsqueeze(1)
    values = l2_normalize(student) if normalises_first(head) else student
    for layer in dense_layers(head):
        values = values @ layer.weight.T + layer.bias
        values = layer.activation()(values) if layer.activation else values
    assert normalises_first(head) is normalise
    torch.testing.assert_close(values, head(student), rtol=1e-4, atol=1e-3)


def test_more_hidden_layers_are_no_such_chain():
    assert dense_layers(MlpHead(12, 20, hidden=16, depth=2).eval()) is None
