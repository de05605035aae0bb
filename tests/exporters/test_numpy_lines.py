"""Each operation's NumPy form against torch's own."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alignkit.errors import ConfigError
from alignkit.exporters.graph import trace
from alignkit.exporters.numpy_lines import helpers_used, numpy_lines
from alignkit.heads.base import Head

TABLE = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
SQUARE = torch.randn(6, 6, generator=torch.Generator().manual_seed(2))

CASES = {
    "linear without bias": lambda s: F.linear(s, TABLE),
    "gelu": F.gelu,
    "gelu tanh": lambda s: F.gelu(s, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "cos and sin": lambda s: torch.cos(s @ SQUARE) + torch.sin(s),
    "negative constant": lambda s: s * -2.5 - -1.0,
    "normalise": lambda s: F.normalize(s, dim=-1),
    "norm of order 3": lambda s: torch.linalg.vector_norm(s, 3.0, dim=-1, keepdim=True),
    "layer norm": lambda s: F.layer_norm(s, (6,), TABLE[0], TABLE[1]),
    "softmax": lambda s: torch.softmax(3 * s, dim=-1),
    "distances": lambda s: torch.cdist(s, TABLE),
    "experts": lambda s: torch.einsum("be,bd,edt->bt", torch.softmax(s @ TABLE.T, -1), s, SQUARE.expand(5, 6, 6)),
    "means": lambda s: s - s.mean(dim=-1, keepdim=True),
    "sums": lambda s: s.sum(dim=-1, keepdim=True) / (1 + s.square().sum(dim=-1, keepdim=True)).sqrt(),
    "slices and cat": lambda s: torch.cat([s[:, 2:], s[:, :2], s[:, 1:5:2]], dim=-1),
    "stack and select": lambda s: torch.stack([s, 2 * s], dim=1)[:, 1],
    "views": lambda s: s.view(s.shape[0], 2, 3).transpose(1, 2).reshape(s.shape[0], 6),
    "flatten": lambda s: (s.unsqueeze(2) * s.unsqueeze(1)).flatten(1),
    "clamp": lambda s: s.clamp(-0.5, 0.5) + s.clamp_min(0.1),
    "powers": lambda s: (s**2 + 1.0) ** -0.5,
    "exp and log": lambda s: torch.log(torch.exp(s) + 1) - torch.log1p(s.abs()),
    "batched": lambda s: torch.bmm(s.unsqueeze(1), SQUARE.expand(s.shape[0], 6, 6)).squeeze(1),
    "rsub": lambda s: 1.0 - s,
}


class Composed(Head):
    """A head that is one function."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.student_dim = 6
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, student):
        return self.function(student)


def run_lines(graph, student):
    lines = numpy_lines(graph, lambda name: f"weights[{str(name)!r}]")
    known = {"np": np, "math": math, "student": student, "weights": {k: v.numpy() for k, v in graph.arrays.items()}}
    exec("\n".join([helpers_used(lines), *lines]), known)  # noqa: S102
    return known[graph.output]


@pytest.mark.parametrize("name", CASES)
def test_operation_agrees_with_torch(name):
    graph = trace(Composed(CASES[name]).eval())
    for rows in (1, 9):
        student = torch.randn(rows, 6, generator=torch.Generator().manual_seed(rows))
        got = run_lines(graph, student.numpy())
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, CASES[name](student).numpy(), atol=2e-6, rtol=2e-6, err_msg=f"{rows} rows")


def test_an_unknown_operation_is_named():
    with pytest.raises(ConfigError, match="operation erfinv has no NumPy form here; use format=onnx"):
        run_lines(trace(Composed(torch.erfinv).eval()), np.zeros((1, 6), np.float32))
