"""Kernel ridge regression: each training sentence nearby says what its teacher's vector was."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.held_out import Choice, HeldOut, choose_strength
from alignkit.heads.kernel_space import KernelSpace, spread_rows
from alignkit.heads.moments import CenteredMoments, Moments
from alignkit.heads.ridge import best_lambda, check_lambda, mean_eigenvalue, solve_ridge
from alignkit.heads.space import Search, settle
from alignkit.heads.streaming import Batches, TensorBatches, weights_of
from alignkit.setting_rules import check, number_above, whole
from alignkit.vectors import l2_normalize

# relative to the median distance between training sentences; the widest, that is the smoothest, first. A narrower
# kernel may win on some held-out sentences, and loses among the many of an index (900 pairs: overlap@10 .612 with 0.5,
# .627 with 0.7)
BANDWIDTHS = (2.8, 2.0, 1.4, 1.0, 0.7)
# relative to the kernel of a sentence with itself: the variance of noise, which is the same for any number of pairs
LAMBDAS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# where the searches begin
USUAL_BANDWIDTH, USUAL_LAMBDA = 1.0, 0.01
USUAL_TRIES = 4
# pairs and landmarks on which the bandwidth is chosen
SAMPLE_PAIRS, SAMPLE_LANDMARKS = 4096, 1024
RULES = {"landmarks": whole(1), "bandwidth": number_above(0).or_null("which chooses it")}


class KernelHead(Head):
    """`aligned = A·k(z) + B·z + b` with `z = M·s + m` and `k_j(z) = exp(−|z − c_j|²/2)`.

    `s` is the student's vector scaled to length 1, `c` are landmarks: all training sentences where there are no more
    than `landmarks`, so that this is exact kernel ridge regression, and some of them otherwise. Distances are measured
    in a stretched space: directions that a ridge solution uses count for more.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        landmarks: number of landmarks at most. Time and size grow in proportion, quality grows slowly.
        bandwidth: of the kernel, relative to the median distance between training sentences; `None` chooses it on
            validation.
        ridge_lambda: of the closed form, relative to the kernel of a sentence with itself; `None` chooses it on
            validation.

    Source: Saunders, Gammerman and Vovk, Ridge regression learning algorithm in dual variables, ICML 1998; Williams and
    Seeger, Using the Nyström method to speed up kernel machines, NeurIPS 2000.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        landmarks: int = 2048,
        bandwidth: float | None = None,
        ridge_lambda: float | None = None,
    ) -> None:
        super().__init__()
        check_lambda(ridge_lambda)
        check({"landmarks": landmarks, "bandwidth": bandwidth}, RULES)
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.landmarks = landmarks
        self.bandwidth = bandwidth
        self.ridge_lambda = ridge_lambda
        self.stretch = nn.Linear(student_dim, student_dim).requires_grad_(False)
        self.places = nn.Linear(student_dim, landmarks).requires_grad_(False)
        self.readout = nn.Linear(landmarks, teacher_dim)
        self.skip = nn.Linear(student_dim, teacher_dim, bias=False)

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        stretched = self.stretch(l2_normalize(student))
        # |z − c|²/2 without the pairwise differences; the places' bias is −|c|²/2
        near = torch.exp(self.places(stretched) - stretched.square().sum(dim=-1, keepdim=True) / 2)
        return self.readout(near) + self.skip(stretched)

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return self.readout, self.skip

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Kernel ridge regression; see `ClosedForm.solve`. Two passes: the space, then its features.

        With fewer pairs than landmarks, every pair is a landmark, and `landmarks` is set to their number.
        """
        settled = {"bandwidth": self.bandwidth, "ridge_lambda": self.ridge_lambda} | (chosen or {})
        search = Search(
            lambda moments, sample: KernelSpace.of(moments, sample, self.landmarks),
            _choose_bandwidth,
            lambda space, moments, held_out, start: _best_lambda(space, moments, held_out, start, LAMBDAS).strength,
            USUAL_LAMBDA,
            # a sample by strides holds at least half of what it may, so that there are as many landmarks as asked for;
            # one by weights holds all of it, and all pairs that count most are to be landmarks
            max(SAMPLE_PAIRS, 2 * self.landmarks) if weights_of(train) is None else self.landmarks,
        )
        space, moments, settled = settle(search, train, validation, settled)
        self._take(space, *solve_ridge(moments, settled["ridge_lambda"] / mean_eigenvalue(moments.gram)))
        return settled

    def solve_flops(self, pairs: int) -> float:
        """The features and their Gram matrix, the solutions tried for λ, and the search for the bandwidth."""

        def moments(count: int, landmarks: int) -> float:
            width = self.student_dim + landmarks
            return float(count) * (
                2 * landmarks * self.student_dim + landmarks**2 + width * (width + 2 * self.teacher_dim)
            )

        def solution(landmarks: int) -> float:
            width = self.student_dim + landmarks
            return width**3 + 4.0 * width**2 * self.teacher_dim

        many = min(self.landmarks, pairs)
        flops = moments(pairs, many) + (1 + USUAL_TRIES) * solution(many)
        if self.bandwidth is None:
            few = min(many, SAMPLE_LANDMARKS)
            flops += USUAL_TRIES * (moments(min(pairs, SAMPLE_PAIRS), few) + USUAL_TRIES * solution(few))
        return super().solve_flops(pairs) + flops

    def _take(self, space: KernelSpace, weight: Tensor, bias: Tensor) -> None:
        folded = space.fold(weight, bias)
        self.landmarks = self.places.out_features = self.readout.in_features = len(space.landmarks)
        for name, layer in self.named_children():
            for part, old in list(layer.named_parameters()):
                value = folded[f"{name}.{part}"].to(old).contiguous()
                setattr(layer, part, nn.Parameter(value, requires_grad=old.requires_grad))


def _choose_bandwidth(
    space: KernelSpace, sample: TensorBatches, held_out: HeldOut, ridge_lambda: float | None
) -> tuple[float, float]:
    """The bandwidth on a sample of pairs and landmarks, and its λ.

    The widest that noise cannot tell from the best: a narrow kernel gains on held-out sentences, which lie further
    apart than those of an index, and loses there.
    """
    space = space.narrow(SAMPLE_LANDMARKS)
    rows = spread_rows(len(sample), SAMPLE_PAIRS)
    weights = None if sample.weights is None else sample.weights[rows]
    few = TensorBatches(sample.student[rows], sample.teacher[rows], weights=weights)
    strengths = {USUAL_BANDWIDTH: ridge_lambda or USUAL_LAMBDA}

    def attempt(bandwidth: float) -> Tensor:
        nearest = min(strengths, key=lambda other: abs(math.log(other / bandwidth)))
        trial = replace(space, bandwidth=bandwidth)
        moments = Moments.of(trial.batches(few), weights).centered()
        grid = LAMBDAS if ridge_lambda is None else (ridge_lambda,)
        choice = _best_lambda(trial, moments, held_out, strengths[nearest], grid)
        strengths[bandwidth] = choice.strength
        return choice.qualities

    bandwidth = choose_strength(BANDWIDTHS, USUAL_BANDWIDTH, attempt).strength
    return bandwidth, strengths[bandwidth]


def _best_lambda(
    space: KernelSpace, moments: CenteredMoments, held_out: HeldOut, start: float, grid: tuple[float, ...]
) -> Choice:
    unit = mean_eigenvalue(moments.gram)
    relative = {one / unit: one for one in grid}
    choice = best_lambda(moments, space(held_out.student), held_out, start / unit, tuple(relative))
    return replace(choice, strength=relative[choice.strength])
