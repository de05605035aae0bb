"""Kernel regression and a perceptron, averaged: each errs where the other does not."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.held_out import CORPUS
from alignkit.heads.kernel import KernelHead
from alignkit.heads.mlp import MlpHead
from alignkit.heads.streaming import Batches, TensorBatches, hold_out, sample_pairs

# share of a training batch in the running mean of lengths
MOMENTUM = 0.1


class KernelMlpHead(Head):
    """`aligned = kernel(s)/2 + (a/b)·mlp(s)`, where `a` and `b` are the usual lengths of the two terms.

    Each is fitted as if it were alone: the kernel by its closed form, then the perceptron, whose output is what the
    head gives while it trains. Trained for the loss of the average, or on what the kernel leaves over, the perceptron
    becomes worse: the kernel knows the training sentences too well.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        landmarks: see `KernelHead`.
        hidden: see `MlpHead`.
        dropout: see `MlpHead`.
        bandwidth: see `KernelHead`.
        ridge_lambda: of both closed forms; each chooses its own where it is `None`.
    """

    closed_form_is_whole = False
    kernel_length: Tensor
    mlp_length: Tensor

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        landmarks: int = 2048,
        hidden: int = 2400,
        dropout: float = 0.0,
        bandwidth: float | None = None,
        ridge_lambda: float | None = None,
    ) -> None:
        super().__init__()
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.landmarks = landmarks
        self.hidden = hidden
        self.dropout = dropout
        self.bandwidth = bandwidth
        self.ridge_lambda = ridge_lambda
        self.kernel = KernelHead(student_dim, teacher_dim, landmarks, bandwidth, ridge_lambda).requires_grad_(False)
        self.mlp = MlpHead(student_dim, teacher_dim, hidden, dropout=dropout, ridge_lambda=ridge_lambda)
        # without a closed form there is the perceptron alone
        for layer in self.kernel.output_layers():
            for parameter in layer.parameters():
                nn.init.zeros_(parameter)
        self.register_buffer("kernel_length", torch.ones(()))
        self.register_buffer("mlp_length", torch.ones(()))

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`; the perceptron's output while training."""
        aligned = self.mlp(student)
        if self.training:
            with torch.no_grad():
                self.mlp_length.lerp_(_length(aligned), MOMENTUM)
            return aligned
        return self.kernel(student) + aligned * (self.kernel_length / self.mlp_length)

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Kernel regression, and ridge regression for the perceptron's start; see `ClosedForm.solve`. Three passes."""
        if chosen is None:
            if validation is None:
                fit, validation = hold_out(train)
                return self.solve(train, chosen=self.solve(fit, validation))
            held_out = TensorBatches(*sample_pairs(validation, CORPUS))
            by_kernel, by_mlp = self.kernel.solve(train, held_out), self.mlp.solve(train, held_out)
            chosen = {f"kernel_{name}": value for name, value in by_kernel.items()} | by_mlp
            chosen |= self._lengths(held_out.student)
        else:
            names = ("bandwidth", "ridge_lambda")
            self.kernel.solve(train, chosen={name: chosen[f"kernel_{name}"] for name in names})
            self.mlp.solve(train, chosen={"ridge_lambda": chosen["ridge_lambda"]})
        self._balance(chosen)
        return chosen

    def members(self) -> tuple[Head, ...]:
        """See `Head.members`."""
        return self.kernel, self.mlp

    @torch.no_grad()
    def take_over(self, members: Sequence[Head], student: Tensor) -> None:
        """See `Head.take_over`."""
        self.kernel, self.mlp = (copy.deepcopy(member) for member in members)  # type: ignore[assignment]
        self._balance(self._lengths(student))

    def look(self, train: Batches) -> None:
        """See `MlpHead.look`."""
        self.mlp.look(train)

    def rates(self) -> dict[str, float]:
        """See `MlpHead.rates`."""
        return {f"mlp.{start}": rate for start, rate in self.mlp.rates().items()}

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`; the kernel's come first, since a bias is added to what they give."""
        return *self.kernel.output_layers(), *self.mlp.output_layers()

    def solve_flops(self, pairs: int) -> float:
        """Those of both."""
        return self.kernel.solve_flops(pairs) + self.mlp.solve_flops(pairs)

    def _lengths(self, student: Tensor) -> dict[str, float]:
        """Usual lengths of half the kernel's vectors and of the perceptron's.

        Of texts held out: to those that they were solved on, both give longer vectors.
        """
        kernel, mlp = (float(_length(member(student))) for member in (self.kernel, self.mlp))
        return {"kernel_length": kernel / 2, "mlp_length": mlp}

    def _balance(self, lengths: Mapping[str, Any]) -> None:
        """Give both members, fitted alone, the same weight."""
        for layer in self.kernel.output_layers():  # its half of the average
            for parameter in layer.parameters():
                parameter.div_(2)
        self.landmarks = self.kernel.landmarks
        self.kernel_length.fill_(lengths["kernel_length"])
        self.mlp_length.fill_(lengths["mlp_length"])


def _length(aligned: Tensor) -> Tensor:
    """Mean length of the rows, above 0."""
    return aligned.float().norm(dim=-1).mean().clamp_min(torch.finfo(torch.float32).tiny)
