"""A head from a description and its weights, both of which somebody else may have made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from alignkit.heads.base import Head, head_class

# heads take five or six operations for each of their tensors; a few more are free
OPERATIONS_A_TENSOR, FREE_OPERATIONS = 20, 100


def build_head(kind: str, arguments: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> Head:
    """Build a head around its weights, in evaluation mode.

    Args:
        kind: as `head_class` knows it.
        arguments: of its constructor.
        weights: its state dict; taken over, not copied.

    Raises:
        ArtifactError: if there is no such head.
        Exception: whatever its constructor or torch say of arguments and weights that do not go together.
    """
    _check_sizes(arguments, sum(tensor.numel() for tensor in weights.values()))
    # on "meta" first: nothing is initialised that the weights overwrite anyway
    with torch.device("meta"), _Bounded(len(weights)):
        head = head_class(kind)(**arguments)
    head.load_state_dict(weights, assign=True)
    return head.eval().requires_grad_(False)


def _check_sizes(arguments: Mapping[str, Any], numbers: int) -> None:
    """Every width, count or depth costs at least one stored number; a seed is the only whole number that is none."""
    for name, value in arguments.items():
        if isinstance(value, int) and name != "seed" and value > max(1, numbers):
            raise ValueError(f"{name}={value}, but there are {numbers} numbers")


class _Bounded(TorchFunctionMode):
    """Ends what takes longer to build than its weights explain: a file of 700 bytes can ask for 30,000 layers."""

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
            raise ValueError("the arguments describe a larger head than there are weights for")
        return function(*arguments, **(options or {}))
