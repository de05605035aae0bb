"""Heads that are matrices, biases and elementwise activations: most of them, whatever their kind is called."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alignkit.exporters.graph import STUDENT, Graph, Step, trace
from alignkit.heads.base import Head
from alignkit.heads.mlp import MlpHead

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
_PROBE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Layer:
    """`activation(weight · v + bias)`.

    Attributes:
        weight: `(out, in)` float32.
        bias: `(out,)` float32.
        activation: None for none.
    """

    weight: Tensor
    bias: Tensor
    activation: type[nn.Module] | None = None


def dense_layers(head: Head) -> list[Layer] | None:
    """The head as dense layers, centring folded in; None where it is something else.

    Those of a perceptron take vectors of length 1 where it normalises its own; see `normalises_first`.
    """
    if isinstance(head, MlpHead):
        return _perceptron(head)
    if (layer := affine_layer(head)) is not None:
        return [layer]
    return _chain(trace(head))


def normalises_first(head: Head) -> bool:
    """Whether the head's dense layers are those of its student scaled to length 1."""
    return isinstance(head, MlpHead) and head.normalise


@torch.no_grad()
def _perceptron(head: MlpHead) -> list[Layer]:
    """Its layers, each wider by what the linear map beside them needs.

    The student itself goes along through every hidden layer, as two units a dimension, for `gelu(v) − gelu(−v) = v`.
    """
    double = copy.deepcopy(head).double()
    *hidden, last = (layer for layer in double.layers if isinstance(layer, nn.Linear))
    itself = torch.eye(head.student_dim, dtype=torch.float64)
    apart, together = torch.cat([itself, -itself]), torch.cat([itself, -itself], dim=1)
    none = torch.zeros(2 * head.student_dim, dtype=torch.float64)
    layers: list[Layer] = []
    for layer in hidden:
        if layers:
            weight = torch.block_diag(layer.weight, apart @ together)
            bias = torch.cat([layer.bias, none])
        else:
            weight = torch.cat([layer.weight, apart]) / double.standardise.scale
            bias = torch.cat([layer.bias, none]) - weight @ double.standardise.mean
        layers.append(Layer(weight.float(), bias.float(), nn.GELU))
    weight = torch.cat([last.weight, double.skip.weight @ together], dim=1)
    return [*layers, Layer(weight.float(), (last.bias + double.skip.bias).float())]


@torch.no_grad()
def affine_layer(head: Head) -> Layer | None:
    """The head as one matrix and a bias, where that is all it does; None else.

    Read off its values at zero and at the unit vectors, in float64: so a centring of any size costs no precision.
    """
    double = copy.deepcopy(head).double()
    bias = double(torch.zeros(1, head.student_dim, dtype=torch.float64))[0]
    weight = double(torch.eye(head.student_dim, dtype=torch.float64)) - bias
    generator = torch.Generator().manual_seed(0)
    probes = torch.randn(16, head.student_dim, generator=generator, dtype=torch.float64)
    # several lengths: a head that normalises first would pass on unit vectors alone
    probes *= torch.logspace(-2, 2, len(probes), dtype=torch.float64).unsqueeze(1)
    expected = double(probes)
    if not torch.allclose(probes @ weight + bias, expected, rtol=_PROBE_TOLERANCE, atol=_PROBE_TOLERANCE):
        return None
    return Layer(weight.T.float().contiguous(), bias.float())


def _chain(graph: Graph) -> list[Layer] | None:
    layers: list[Layer] = []
    shift: Tensor | None = None
    current = STUDENT
    for step in graph.steps:
        if not step.arguments or step.arguments[0] != current:
            return None
        if step.operation == "linear":
            layers.append(_linear(step, graph, shift))
            shift = None
        elif step.operation in ACTIVATIONS and not step.options and len(step.arguments) == 1 and _is_bare(layers):
            layers[-1] = Layer(layers[-1].weight, layers[-1].bias, ACTIVATIONS[step.operation])
        elif step.operation == "sub" and not layers and not step.options and step.arguments[1] in graph.arrays:
            shift = graph.arrays[step.arguments[1]]
        else:
            return None
        current = step.name
    return layers if layers and shift is None and current == graph.output else None


def _is_bare(layers: list[Layer]) -> bool:
    return bool(layers) and layers[-1].activation is None


def _linear(step: Step, graph: Graph, shift: Tensor | None) -> Layer:
    weight = graph.arrays[step.arguments[1]].double()
    named = step.arguments[2] if len(step.arguments) > 2 else None
    bias = weight.new_zeros(len(weight)) if named is None else graph.arrays[named].double()
    if shift is not None:
        bias = bias - weight @ shift.double()
    return Layer(weight.float(), bias.float())
