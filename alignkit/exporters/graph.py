"""A head written out as plain steps on named arrays, whatever its kind: what formats without alignkit are made from.

`torch.export` records which ATen operations a head runs; no head needs to know of exports. Every step can then be
written as a line of Python for torch or, where the operation is known here, for NumPy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alignkit.errors import ConfigError
from alignkit.heads.base import Head

# enough rows that operations which choose by size choose as for any larger batch
TRACE_ROWS = 64
# what only matters while training or to the tracer
_PASSING = ("dropout", "detach", "detach_", "alias", "contiguous", "clone", "lift_fresh_copy")
_SILENT = ("_assert_scalar", "_assert_tensor_metadata", "sym_constrain_range_for_size")


class Name(str):
    """The name of a step or an array, where a text would be a constant."""


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        name: of its result.
        operation: `linear`, `cos` …, as ATen calls it; with a prefix `operator.` for Python's own on sizes.
        overload: ATen's variant: `default`, `Tensor` …
        arguments, options: constants, `Name`s, lists of both.
    """

    name: Name
    operation: str
    overload: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """A head as steps from `student` to `output`; `arrays` are its weights."""

    steps: tuple[Step, ...]
    output: Name
    arrays: dict[str, Tensor]


STUDENT = Name("student")


def trace(head: Head) -> Graph:
    """Write out what a head does to a batch.

    Raises:
        ConfigError: if the head decides by its input's values what to do.
    """
    sample = torch.randn(TRACE_ROWS, head.student_dim, generator=torch.Generator().manual_seed(0))
    try:
        program = torch.export.export(head, (sample,), dynamic_shapes=({0: torch.export.Dim.AUTO},), strict=False)
    except Exception as error:  # whatever torch raises: there are dozens
        raise ConfigError(
            f"the head '{head.kind()}' cannot be written out for this format "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); use format=bundle or format=torch"
        ) from error
    signature = program.graph_signature
    stored = {**program.state_dict, **program.constants}
    origins = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    names: dict[Any, Name] = {}
    arrays: dict[str, Tensor] = {}
    steps: list[Step] = []
    output = STUDENT
    for node in program.graph.nodes:
        if node.op == "placeholder":
            names[node] = Name(_array_name(origins[node.name])) if node.name in origins else STUDENT
            if node.users and node.name in origins:
                arrays[names[node]] = stored[origins[node.name]].detach()
        elif node.op == "output":
            output = names[node.args[0][0]]
        elif (step := _step(node, names)) is not None:
            steps.append(step)
    return Graph(tuple(steps), output, arrays)


def _array_name(origin: str) -> str:
    return "w_" + re.sub(r"\W", "_", origin)


def _step(node: torch.fx.Node, names: dict[Any, Name]) -> Step | None:
    target = node.target
    if isinstance(target, torch._ops.OpOverload):
        _, operation = target.name().split("::")
        operation, _, overload = operation.partition(".")
    else:
        operation, overload = f"operator.{target.__name__}", "default"  # type: ignore[union-attr]
    if operation in _SILENT:
        return None
    if operation in _PASSING:
        names[node] = names[node.args[0]]
        return None
    names[node] = Name(node.name)
    arguments = tuple(_argument(argument, names) for argument in node.args)
    options = {key: _argument(value, names) for key, value in node.kwargs.items()}
    return Step(names[node], operation, overload or "default", arguments, options)


def _argument(value: Any, names: dict[Any, Name]) -> Any:
    if isinstance(value, torch.fx.Node):
        return names[value]
    if isinstance(value, list | tuple):
        return [_argument(part, names) for part in value]
    return value


def literal(value: Any) -> str:
    """An argument as Python source.

    >>> literal([Name("student"), None, float("-inf"), torch.float32])
    '[student, None, -math.inf, torch.float32]'
    """
    if isinstance(value, Name):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return "math.nan" if math.isnan(value) else "math.inf" if value > 0 else "-math.inf"
    if isinstance(value, torch.device):
        return f'torch.device("{value}")'
    if isinstance(value, torch.dtype | torch.layout | torch.memory_format):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    raise ConfigError(f"the head uses a {type(value).__name__} that cannot be written out; use format=bundle")


def torch_lines(graph: Graph, weight: Callable[[str], str]) -> list[str]:
    """The graph as lines of Python for torch.

    Args:
        graph: of the head.
        weight: name of an array → the expression that reads it.
    """
    lines = [f"{name} = {weight(name)}" for name in graph.arrays]
    for step in graph.steps:
        called = step.operation
        if not called.startswith("operator."):
            called = f"torch.ops.aten.{step.operation}.{step.overload}"
        arguments = [literal(argument) for argument in step.arguments]
        arguments += [f"{key}={literal(value)}" for key, value in step.options.items()]
        lines.append(f"{step.name} = {called}({', '.join(arguments)})")
    return lines
