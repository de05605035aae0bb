"""ATen's operations as NumPy expressions: enough for every head there is; an unknown one is named, never guessed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch

from alignkit.errors import ConfigError
from alignkit.exporters.graph import Graph, Name, Step, literal

# {0}, {1} … are the arguments, in ATen's order and with its defaults filled in
TEMPLATES = {
    "linear": "_linear({0}, {1}, {2})",
    "matmul": "{0} @ {1}",
    "mm": "{0} @ {1}",
    "bmm": "{0} @ {1}",
    "addmm": "{0} + {1} @ {2}",
    "einsum": "np.einsum({0}, *{1}, optimize=True)",
    "t": "{0}.T",
    "numpy_T": "{0}.T",
    "mT": "np.swapaxes({0}, -1, -2)",
    "transpose": "np.swapaxes({0}, {1}, {2})",
    "permute": "np.transpose({0}, {1})",
    "unsqueeze": "np.expand_dims({0}, {1})",
    "squeeze": "np.squeeze({0}, {1})",
    "view": "np.reshape({0}, {1})",
    "reshape": "np.reshape({0}, {1})",
    "flatten": "_flatten({0}, {1}, {2})",
    "expand_as": "np.broadcast_to({0}, {1}.shape)",
    "expand": "_expand({0}, {1})",
    "cat": "np.concatenate({0}, axis={1})",
    "stack": "np.stack({0}, axis={1})",
    "select": "np.take({0}, {2}, axis={1})",
    "slice": "_slice({0}, {1}, {2}, {3}, {4})",
    "gather": "np.take_along_axis({0}, {2}, axis={1})",
    "index_select": "np.take({0}, {2}, axis={1})",
    "embedding": "{0}[{1}]",
    "sym_size": "{0}.shape[{1}]",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "rsub": "{1} - {0}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "reciprocal": "1.0 / {0}",
    "neg": "-{0}",
    "pow": "{0} ** {1}",
    "square": "np.square({0})",
    "exp": "np.exp({0})",
    "log": "np.log({0})",
    "log1p": "np.log1p({0})",
    "sqrt": "np.sqrt({0})",
    "rsqrt": "1.0 / np.sqrt({0})",
    "abs": "np.abs({0})",
    "sin": "np.sin({0})",
    "cos": "np.cos({0})",
    "tanh": "np.tanh({0})",
    "sigmoid": "1.0 / (1.0 + np.exp(-{0}))",
    "silu": "{0} / (1.0 + np.exp(-{0}))",
    "relu": "np.maximum({0}, 0.0)",
    "gelu": "_gelu({0}, {1})",
    "softplus": "np.logaddexp(0.0, {0})",
    "softmax": "_softmax({0}, {1})",
    "sum": "np.sum({0}, axis={1}, keepdims={2})",
    "mean": "np.mean({0}, axis={1}, keepdims={2})",
    "amax": "np.max({0}, axis={1}, keepdims={2})",
    "linalg_vector_norm": "_norm({0}, {1}, {2}, {3})",
    "clamp": "np.clip({0}, {1}, {2})",
    "clamp_min": "np.maximum({0}, {1})",
    "clamp_max": "np.minimum({0}, {1})",
    "maximum": "np.maximum({0}, {1})",
    "minimum": "np.minimum({0}, {1})",
    "layer_norm": "_layer_norm({0}, {1}, {2}, {3}, {4})",
    "cdist": "_distances({0}, {1})",
    "where": "np.where({0}, {1}, {2})",
    "operator.mul": "{0} * {1}",
    "operator.add": "{0} + {1}",
    "operator.sub": "{0} - {1}",
    "operator.floordiv": "{0} // {1}",
}
# options that a template leaves out, with the only value for which it is right
_NEUTRAL = {"alpha": 1, "dtype": None, "rounding_mode": None, "sparse_grad": False, "cudnn_enable": True}
_AXES = {"np.sum", "np.mean", "np.max", "_norm"}

HELPERS = {
    "_linear": """def _linear(values, weight, bias):
    return values @ weight.T if bias is None else values @ weight.T + bias
""",
    "_flatten": """def _flatten(values, first, last):
    last %= values.ndim
    return values.reshape(values.shape[:first] + (-1,) + values.shape[last + 1 :])
""",
    "_expand": """def _expand(values, shape):
    padded = (1,) * (len(shape) - values.ndim) + values.shape
    return np.broadcast_to(values, [old if new == -1 else new for old, new in zip(padded, shape)])
""",
    "_slice": """def _slice(values, axis, start, stop, step):
    return values[(slice(None),) * (axis % values.ndim) + (slice(start, stop, step),)]
""",
    "_gelu": """def _gelu(values, approximate):
    if approximate == "tanh":
        return 0.5 * values * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (values + 0.044715 * values**3)))
    # Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: the error is below 1.5e-7
    size = np.abs(values) / math.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * size)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return 0.5 * values * (1.0 + np.sign(values) * (1.0 - series * np.exp(-size * size)))
""",
    "_softmax": """def _softmax(values, axis):
    powers = np.exp(values - np.max(values, axis=axis, keepdims=True))
    return powers / np.sum(powers, axis=axis, keepdims=True)
""",
    "_norm": """def _norm(values, order, axis, keepdims):
    if order == 2:
        return np.sqrt(np.sum(np.square(values), axis=axis, keepdims=keepdims))
    return np.sum(np.abs(values) ** order, axis=axis, keepdims=keepdims) ** (1.0 / order)
""",
    "_layer_norm": """def _layer_norm(values, shape, weight, bias, eps):
    axes = tuple(range(-len(shape), 0))
    centred = values - np.mean(values, axis=axes, keepdims=True)
    scaled = centred / np.sqrt(np.mean(np.square(centred), axis=axes, keepdims=True) + eps)
    return (scaled if weight is None else scaled * weight) + (0.0 if bias is None else bias)
""",
    "_distances": """def _distances(first, second):
    squares = np.sum(first**2, -1)[..., :, None] + np.sum(second**2, -1)[..., None, :]
    return np.sqrt(np.maximum(squares - 2.0 * first @ np.swapaxes(second, -1, -2), 0.0))
""",
}


def numpy_lines(graph: Graph, weight: Callable[[str], str]) -> list[str]:
    """The graph as lines of Python for NumPy.

    Args:
        graph: of the head.
        weight: name of an array → the expression that reads it.

    Raises:
        ConfigError: if the head uses an operation that is not known here.
    """
    lines = [f"{name} = {weight(name)}" for name in graph.arrays]
    return lines + [f"{step.name} = {_expression(step)}" for step in graph.steps]


def helpers_used(lines: list[str]) -> str:
    """Source of the functions that the lines call, two empty lines after each."""
    used = set(re.findall(r"(_[a-z_]+)\(", "\n".join(lines)))
    return "".join(f"\n{source}\n" for name, source in HELPERS.items() if name in used)


def _expression(step: Step) -> str:
    template = TEMPLATES.get(step.operation)
    arguments, options = _with_defaults(step)
    wrong = {key: value for key, value in options.items() if _NEUTRAL.get(key, value) != value}
    if template is None or wrong:
        raise ConfigError(
            f"the head's operation {step.operation}{f' with {wrong}' if wrong else ''} has no NumPy form here; "
            "use format=onnx"
        )
    if template.partition("(")[0] in _AXES:
        arguments = [tuple(part) if _is_axes(part) else part for part in arguments]
    # an operator's operands are names or constants, so only a negative constant needs brackets
    return template.format(*map(_operand, arguments))


def _with_defaults(step: Step) -> tuple[list[Any], dict[str, Any]]:
    """Arguments in the order of ATen's schema, defaults filled in; apart from them, the keyword-only ones."""
    if step.operation.startswith("operator."):
        return list(step.arguments), step.options
    schema = getattr(getattr(torch.ops.aten, step.operation), step.overload)._schema
    arguments: list[Any] = []
    options = dict(step.options)
    for position, expected in enumerate(schema.arguments):
        if expected.kwarg_only:
            continue
        given = step.arguments[position] if position < len(step.arguments) else None
        if position >= len(step.arguments):
            given = options.pop(expected.name, expected.default_value)
        arguments.append(given)
    if step.operation == "gelu":
        arguments.append(options.pop("approximate", "none"))
    return arguments, options


def _is_axes(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, int) for part in value)


def _operand(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(str, value))},)"
    text = literal(value)
    return f"({text})" if text.startswith("-") and not isinstance(value, Name) else text
