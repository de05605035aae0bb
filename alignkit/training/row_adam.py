"""AdamW that also takes sparse gradients: only the rows that a step used are moved."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class RowAdam(torch.optim.AdamW):
    """AdamW; a parameter with a sparse gradient gets a step in the rows of that gradient alone, without weight decay.

    Each row's moments are corrected by the number of its own steps, so the first step of a rare row is no larger than
    that of a frequent one.

    Source: Kingma and Ba, Adam, ICLR 2015, algorithm 1, row by row.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and parameter.grad.is_sparse:
                    self._step_of_rows(parameter, group)
                    parameter.grad = None
        super().step()
        return loss

    def _step_of_rows(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        gradient = parameter.grad.coalesce()  # type: ignore[union-attr]
        rows, values = gradient.indices()[0], gradient.values()
        state = self.state[parameter]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            state["step"] = torch.zeros(len(parameter))
        first, second = group["betas"]
        steps = (state["step"][rows] + 1).unsqueeze(1)
        mean = state["exp_avg"][rows].lerp_(values, 1 - first)
        square = state["exp_avg_sq"][rows].mul_(second).addcmul_(values, values, value=1 - second)
        state["step"][rows], state["exp_avg"][rows], state["exp_avg_sq"][rows] = steps.squeeze(1), mean, square
        scale = (square / (1 - second**steps)).sqrt_().add_(group["eps"])
        parameter.index_add_(0, rows, (mean / (1 - first**steps)).div_(scale), alpha=-float(group["lr"]))


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> None:
    """Scale gradients, sparse ones too, so that their norm together is at most `most`."""
    parts: list[Tensor] = []
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            parts.append(parameter.grad.values())
        elif parameter.grad is not None:
            parts.append(parameter.grad)
    norm = torch.nn.utils.get_total_norm(parts)
    torch._foreach_mul_(parts, torch.clamp(most / (norm + 1e-6), max=1.0))
