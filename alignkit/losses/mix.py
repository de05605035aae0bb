"""A weighted sum of other losses."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from alignkit.errors import ConfigError
from alignkit.losses.base import Loss
from alignkit.setting_rules import check, number_from


class MixLoss(Loss):
    """`Σ weight · loss`.

    Args:
        losses: name → loss.
        weights: name → weight, at least 0, one for each loss and not all 0.

    Source: scalarisation of several objectives by fixed weights, Boyd and Vandenberghe, Convex optimization, 2004,
    section 4.7.4; in distillation, the weighted sum of Sanh et al., DistilBERT, arXiv:1910.01108, section 2.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        if set(losses) != set(weights):
            odd = sorted(set(losses) ^ set(weights))[0]
            raise ConfigError(f"mix: '{odd}' must have both a loss and a weight")
        called = {f"weights.{name}": weight for name, weight in weights.items()}
        check(called, dict.fromkeys(called, number_from(0)))
        if not sum(weights.values()):
            raise ConfigError(f"mix: weights {dict(weights)}; expected at least one above 0")
        self.losses = nn.ModuleDict({name: loss for name, loss in losses.items() if weights[name]})
        self.weights = {name: weights[name] for name in self.losses}
        self.needs_negatives = any(getattr(loss, "needs_negatives", False) for loss in self.losses.values())
        self.uses_negatives = any(getattr(loss, "uses_negatives", False) for loss in self.losses.values())
        self.compares_batch = any(getattr(loss, "compares_batch", False) for loss in self.losses.values())

    def forward(self, aligned: Tensor, teacher: Tensor, negatives: Tensor | None = None) -> Tensor:
        """`aligned (B, D)`, `teacher (B, D)`, `negatives (B, K, D)` or `None` → scalar."""
        total = aligned.new_zeros(())
        for name, loss in self.losses.items():
            total = total + self.weights[name] * loss(aligned, teacher, negatives)
        return total
