"""Builds a part from a description and weights, neither of which is trusted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from alignkit.heads.base import Part, part_class

# heads take five or six operations for each of their tensors; a few more are free
OPERATIONS_A_TENSOR, FREE_OPERATIONS = 20, 100


def build_part(kind: str, arguments: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Part:
    """Build a part around its weights, in evaluation mode.

    Args:
        kind: as `part_class` knows it.
        arguments: of its constructor.
        weights: its state dict; taken over, not copied.

    Raises:
        ArtifactError: if there is no such part.
        ValueError: if the weights are not those of such a part.
        Exception: whatever its constructor says of arguments that make no sense.
    """
    _check_sizes(arguments, sum(tensor.numel() for tensor in weights.values()))
    # on "meta" first: nothing is initialised that the weights overwrite anyway
    with torch.device("meta"), _Bounded(len(weights)):
        part = part_class(kind).of_arguments(arguments)
    weights = part.taken_over(weights)
    told, expected = f"a {kind} part with these arguments", part.state_dict()
    try:
        part.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        misfit = _misfit(expected, weights) or _wrong_type(expected, weights)
        raise ValueError(f"{told} {misfit or error}") from None
    if wrong := _wrong_type(expected, part.state_dict()):
        raise ValueError(f"{told} {wrong}")
    return part.eval().requires_grad_(False)


def _misfit(expected: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> str | None:
    """The first difference; torch would list all of them after an uninformative first line."""
    if missing := sorted(expected.keys() - weights.keys()):
        return f"has {', '.join(missing[:3])}, and there are no such weights"
    if unknown := sorted(weights.keys() - expected.keys()):
        return f"has no {', '.join(unknown[:3])}, and there are such weights"
    for name, tensor in expected.items():
        wanted, got = tuple(tensor.shape), tuple(weights[name].shape)
        if wanted != got:
            return f"has {name} of shape {wanted}, the weights have {got}"
    return None


def _wrong_type(expected: Mapping[str, torch.Tensor], loaded: Mapping[str, torch.Tensor]) -> str | None:
    """The first tensor of the wrong dtype; torch would accept it and fail at the first query."""
    for name, tensor in loaded.items():
        if tensor.is_floating_point() != expected[name].is_floating_point():
            return f"has {name} of type {expected[name].dtype}, the weights have {tensor.dtype}"
    kinds = sorted({str(tensor.dtype) for tensor in loaded.values() if tensor.is_floating_point()})
    return f"has numbers of one type, the weights have {' and '.join(kinds)}" if len(kinds) > 1 else None


def _check_sizes(arguments: Mapping[str, Any], numbers: int) -> None:
    """Every width, count or depth costs at least one stored number; a seed is the only other integer."""
    for name, value in arguments.items():
        if isinstance(value, int) and name != "seed" and value > max(1, numbers):
            raise ValueError(f"{name}={value}, but there are {numbers} numbers")


class _Bounded(TorchFunctionMode):
    """Aborts a build with too many operations for its weights: a 700-byte file can ask for 30,000 layers."""

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self.left = FREE_OPERATIONS + OPERATIONS_A_TENSOR * tensors

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError("the arguments describe a larger part than there are weights for")
        return function(*arguments, **(options or {}))
