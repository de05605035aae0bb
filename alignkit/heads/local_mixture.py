"""A linear map for each of a few regions of the student's space, blended softly."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.held_out import HeldOut, choose_strength
from alignkit.heads.ridge import (
    check_lambda,
    cross_validated_lambda,
    mean_eigenvalue,
    ridge_moments,
    solve_positive,
    solve_ridge,
)
from alignkit.heads.streaming import Batches, EvenSample, hold_out, unit_students, weights_of
from alignkit.heads.sums import summed
from alignkit.setting_rules import check, number_above, whole
from alignkit.vectors import l2_normalize

# of the corrections, relative to the mean eigenvalue over all pairs; weaker ones would overfit a small region
LAMBDAS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
USUAL_LAMBDA = 0.1
SAMPLE_PAIRS, LLOYD_STEPS = 8192, 15


class LocalMixtureHead(Head):
    """`aligned = W·s + b + Σ_k p_k(s)·(V_k·s + v_k)`, `s` the student's vector scaled to length 1.

    `p(s) = softmax(−|s − c_k|²/τ)` is the share of region k in `s`. `W` and `b` are ridge regression over all pairs.
    The corrections are shrunk towards zero, so a region with few pairs keeps the common solution.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        regions: number of regions, at least 1.
        softness: τ relative to the mean squared distance to the nearest centre, above 0; the smaller, the harder the
            routing.
        ridge_lambda: of the corrections' closed form, relative to the mean eigenvalue of the students' Gram matrix over
            all pairs; `None` chooses it on validation.
        seed: of the first centres.

    Source: Jacobs et al., Adaptive mixtures of local experts, Neural Computation 3 (1991), with fixed routing.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        regions: int = 8,
        softness: float = 0.5,
        ridge_lambda: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_lambda(ridge_lambda)
        check({"regions": regions, "softness": softness}, {"regions": whole(1), "softness": number_above(0)})
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.regions = regions
        self.softness = softness
        self.ridge_lambda = ridge_lambda
        self.seed = seed
        self.router = nn.Linear(student_dim, regions)
        self.common = nn.Linear(student_dim, teacher_dim)
        self.corrections = nn.Linear(student_dim, regions * teacher_dim)

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        student = l2_normalize(student)
        share = torch.softmax(self.router(student), dim=-1).unsqueeze(1)
        corrections = self.corrections(student).view(-1, self.regions, self.teacher_dim)
        return self.common(student) + torch.bmm(share, corrections).squeeze(1)

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return self.common, self.corrections

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """k-means for the regions, ridge regression for all else; see `ClosedForm.solve`. Two passes over the pairs."""
        ridge_lambda: Any = (chosen or {}).get("ridge_lambda", self.ridge_lambda)
        if ridge_lambda is None and validation is None:
            fit, validation = hold_out(train)
            return self.solve(train, chosen=self.solve(fit, validation))
        sample = EvenSample(len(train), SAMPLE_PAIRS, weights_of(train))
        self._solve_common(sample.watch(train))
        student, teacher = sample.pairs()
        self._place_regions(l2_normalize(student.float()))
        by_region = summed(train, functools.partial(_RegionSums.of, router=self.router, common=self.common))
        if ridge_lambda is None and validation is not None:
            held_out = HeldOut.of(validation, teacher)

            def attempt(strength: float) -> Tensor:
                self._solve_corrections(by_region, strength)
                return held_out.quality(self(held_out.student))

            ridge_lambda = choose_strength(LAMBDAS, USUAL_LAMBDA, attempt).strength
        self._solve_corrections(by_region, ridge_lambda)
        return {"ridge_lambda": ridge_lambda}

    def solve_flops(self, pairs: int) -> float:
        """A ridge regression for each region beside the common one."""
        return (1 + self.regions * len(LAMBDAS) / 2) * super().solve_flops(pairs)

    def _solve_common(self, train: Batches) -> None:
        moments = ridge_moments(train, unit_students)
        weight, bias = solve_ridge(moments, cross_validated_lambda(moments))
        self.common.weight.copy_(weight)
        self.common.bias.copy_(bias)

    def _place_regions(self, student: Tensor) -> None:
        centres = nearest_means(student, self.regions, self.seed)
        spread = float(torch.cdist(student, centres).amin(dim=1).square().mean())
        scale = 1 / (self.softness * spread) if spread > 0 else 1.0
        # |s|² is the same for every region, so it drops out of the softmax
        self.router.weight.copy_(2 * scale * centres)
        self.router.bias.copy_(-scale * centres.square().sum(dim=1))

    def _solve_corrections(self, sums: _RegionSums, strength: float) -> None:
        regularised = sums.gram.clone()
        regularised.diagonal(dim1=1, dim2=2).add_(strength * mean_eigenvalue(sums.gram.sum(dim=0)))
        solution = solve_positive(regularised, sums.cross).mT
        self.corrections.weight.copy_(solution[..., :-1].reshape(-1, self.student_dim))
        self.corrections.bias.copy_(solution[..., -1].flatten())


@dataclass(frozen=True)
class _RegionSums:
    """Sums over pairs by region, each pair by its share in the region, float64.

    Attributes:
        gram: `(regions, student_dim + 1, student_dim + 1)` of students with a 1 appended.
        cross: `(regions, student_dim + 1, teacher_dim)`, with what the common solution leaves over.
    """

    gram: Tensor
    cross: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, pairs: Batches, router: nn.Linear, common: nn.Linear) -> _RegionSums:
        """One pass over the pairs."""
        weights, seen = weights_of(pairs), 0
        regions, width = len(router.bias), router.in_features + 1
        gram = router.weight.new_zeros(regions, width, width, dtype=torch.float64)
        cross = router.weight.new_zeros(regions, width, len(common.bias), dtype=torch.float64)
        for student, teacher in unit_students(pairs):
            left = teacher - common(student)
            share = torch.softmax(router(student), dim=-1)
            if weights is not None:
                share = share * weights[seen : seen + len(student), None].to(share)
            seen += len(student)
            student = torch.cat([student, torch.ones_like(student[:, :1])], dim=1)
            for region in range(regions):
                weighted = student * share[:, region, None]
                gram[region] += weighted.T @ student
                cross[region] += weighted.T @ left
        return cls(gram, cross)

    def all_reduce(self) -> _RegionSums:
        """See `Sums.all_reduce`."""
        import torch.distributed as dist

        for part in (self.gram, self.cross):
            dist.all_reduce(part)
        return self


def nearest_means(vectors: Tensor, count: int, seed: int) -> Tensor:
    """k-means by a few of Lloyd's steps from spread-out rows: `(N, D)` → `(count, D)`.

    `scipy.cluster.vq.kmeans2` finds clusters that are as good, but takes four times as long for 32 of them, divides by
    zero where all rows are the same, warns of empty clusters and knows no GPU.

    Source: Lloyd, IEEE Transactions on Information Theory 28 (1982); first centres as in Arthur and Vassilvitskii,
    k-means++, SODA 2007.
    """
    generator = torch.Generator().manual_seed(seed)
    centres = vectors[torch.randint(len(vectors), (1,), generator=generator)]
    while len(centres) < count:
        distances = torch.cdist(vectors, centres).amin(dim=1).square().cpu() + torch.finfo(torch.float32).tiny
        centres = torch.cat([centres, vectors[torch.multinomial(distances, 1, generator=generator)]])
    for _ in range(LLOYD_STEPS):
        nearest = torch.cdist(vectors, centres).argmin(dim=1)
        members = torch.zeros(count, device=vectors.device).index_add_(0, nearest, torch.ones_like(vectors[:, 0]))
        sums = torch.zeros_like(centres).index_add_(0, nearest, vectors)
        centres = torch.where(members[:, None] > 0, sums / members.clamp_min(1)[:, None], centres)
    return centres
