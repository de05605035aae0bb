"""Kernel regression at the price of one wide layer: random cosines of the student, then ridge regression."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.errors import ArtifactError
from alignkit.heads.base import Head
from alignkit.heads.climb import climb
from alignkit.heads.feature_space import FeatureSpace
from alignkit.heads.held_out import Choice, HeldOut
from alignkit.heads.kept_moments import KeptMoments
from alignkit.heads.moments import CenteredMoments, Moments
from alignkit.heads.ridge import best_lambda, check_lambda, solve_ridge
from alignkit.heads.space import Search, settle
from alignkit.heads.streaming import Batches, weights_of
from alignkit.setting_rules import check, number_above, whole
from alignkit.vectors import l2_normalize

# relative to the median distance between training sentences
BANDWIDTHS = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)
LAMBDAS = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# where the searches begin; good for some thousands of pairs
USUAL_BANDWIDTH, USUAL_LAMBDA = 1.0, 0.003
USUAL_TRIES = 4
# pairs and features on which the bandwidth is chosen
SAMPLE_PAIRS, SAMPLE_FEATURES = 4096, 512
# features on which λ is chosen where there are more pairs than features; on half as many λ hardly matters, so that the
# choice runs far too low (static student, CLINC150: cosine .730 against .764)
LAMBDA_FEATURES = 2048
RULES = {"features": whole(1), "bandwidth": number_above(0).or_null("which chooses it")}


class RandomFeaturesHead(Head):
    """`aligned = A·cos(Ω·s + φ) + B·s + b`, where `s` is the student's vector scaled to length 1.

    The rows of `Ω` are orthogonal random directions, so the cosines approximate a Gaussian kernel. Distances are
    measured in a stretched space: directions that a ridge solution uses count for more.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        features: number of random cosines. Time and size grow in proportion, quality grows slowly.
        bandwidth: of the kernel, relative to the median distance between training sentences; `None` chooses it on
            validation.
        ridge_lambda: of the closed form, relative to the mean eigenvalue of the features' Gram matrix; `None` chooses
            it on validation.
        seed: of the random directions.

    Source: Rahimi and Recht, Random features for large-scale kernel machines, NeurIPS 2007; Yu et al., Orthogonal
    random features, NeurIPS 2016; the stretch is one step of Radhakrishnan et al., Science 383 (2024), from a linear
    model.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        features: int = 4096,
        bandwidth: float | None = None,
        ridge_lambda: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_lambda(ridge_lambda)
        check({"features": features, "bandwidth": bandwidth}, RULES)
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.features = features
        self.bandwidth = bandwidth
        self.ridge_lambda = ridge_lambda
        self.seed = seed
        self.waves = nn.Linear(student_dim, features).requires_grad_(False)
        self.readout = nn.Linear(features, teacher_dim)
        self.skip = nn.Linear(student_dim, teacher_dim, bias=False)
        nn.init.normal_(self.waves.weight)
        nn.init.uniform_(self.waves.bias, 0, 2 * math.pi)

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        student = l2_normalize(student)
        return self.readout(torch.cos(self.waves(student))) + self.skip(student)

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return self.readout, self.skip

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Ridge regression on the features; see `ClosedForm.solve`. Two passes: the space, then its features."""
        return self.solve_keeping(train, validation, chosen)[0]

    def solve_keeping(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], KeptMoments]:
        """See `Updatable.solve_keeping`. The space stays as these pairs make it, whatever comes later."""
        settled = {"bandwidth": self.bandwidth, "ridge_lambda": self.ridge_lambda} | (chosen or {})
        search = Search(
            lambda moments, sample: FeatureSpace.of(moments, sample, self.features, self.seed),
            _choose_bandwidth,
            _choose_lambda,
            USUAL_LAMBDA,
            SAMPLE_PAIRS,
        )
        space, moments, settled = settle(search, train, validation, settled)
        kept = KeptMoments(moments, space)
        return self.solve_from(kept, settled), kept

    @torch.no_grad()
    def solve_from(self, kept: KeptMoments, chosen: dict[str, Any]) -> dict[str, Any]:
        """See `Updatable.solve_from`."""
        if kept.space is None or len(kept.space.phases) != self.features:
            raise ArtifactError(f"sums of other features than the {self.features} of this head; expected its own")
        self._take(kept.space, *solve_ridge(kept.moments, chosen["ridge_lambda"]))
        return dict(chosen)

    @torch.no_grad()
    def choose_lambda(self, kept: KeptMoments, held_out: HeldOut) -> float:
        """See `Updatable.choose_lambda`. The space stays, and its bandwidth with it."""
        if kept.space is None:
            raise ArtifactError("sums of no features; expected those of this head")
        return _choose_lambda(kept.space, kept.moments, held_out, USUAL_LAMBDA)

    def solve_flops(self, pairs: int) -> float:
        """The features' Gram matrix and its solution; on fewer features, the searches for λ and the bandwidth."""

        def gram(width: int, count: int) -> float:
            return float(count) * width * (width + 2 * self.teacher_dim)

        def solution(width: int) -> float:
            return width**3 + 4.0 * width**2 * self.teacher_dim

        width = self.student_dim + self.features
        narrow = self.student_dim + min(self.features, LAMBDA_FEATURES)
        tried = narrow if pairs > width else width
        flops = gram(width, pairs) + solution(width) + USUAL_TRIES * solution(tried)
        if self.bandwidth is None:
            few = self.student_dim + min(self.features, SAMPLE_FEATURES)
            flops += len(BANDWIDTHS) * (gram(few, min(pairs, SAMPLE_PAIRS)) + USUAL_TRIES * solution(few))
        return super().solve_flops(pairs) + flops

    def _take(self, space: FeatureSpace, weight: Tensor, bias: Tensor) -> None:
        parameters = dict(self.named_parameters())
        for name, value in space.fold(weight, bias).items():
            parameters[name].copy_(value)


def _choose_bandwidth(
    space: FeatureSpace, sample: Batches, held_out: HeldOut, ridge_lambda: float | None
) -> tuple[float, float]:
    """The best bandwidth on a sample of pairs and features, and its λ; the best hardly depends on their number."""
    space = space.narrow(SAMPLE_FEATURES)
    tried = {USUAL_BANDWIDTH: ridge_lambda or USUAL_LAMBDA}

    def attempt(bandwidth: float) -> tuple[float, Choice]:
        nearest = min(tried, key=lambda other: abs(math.log(other / bandwidth)))
        trial = replace(space, bandwidth=bandwidth)
        moments = Moments.of(trial.batches(sample), weights_of(sample)).centered()
        grid = LAMBDAS if ridge_lambda is None else (ridge_lambda,)
        choice = best_lambda(moments, trial(held_out.student), held_out, tried[nearest], grid)
        tried[bandwidth] = choice.strength
        return bandwidth, choice

    bandwidth, choice = climb(BANDWIDTHS, USUAL_BANDWIDTH, attempt, lambda outcome: outcome[1].quality)
    return bandwidth, choice.strength


def _choose_lambda(space: FeatureSpace, moments: CenteredMoments, held_out: HeldOut, start: float) -> float:
    """λ for all features, chosen on fewer of them where there are many pairs."""
    narrow = space.narrow(LAMBDA_FEATURES)
    # the kernel, and so the best penalty, stays the same with more features. λ is relative to the mean eigenvalue,
    # which falls as the width grows. With fewer pairs than features, λ depends on the number of features
    if moments.count > space.width > narrow.width:
        moments = space.narrow_moments(moments, LAMBDA_FEATURES)
        found = best_lambda(moments, narrow(held_out.student), held_out, start, LAMBDAS)
        return found.strength * space.width / narrow.width
    return best_lambda(moments, space(held_out.student), held_out, start, LAMBDAS).strength
