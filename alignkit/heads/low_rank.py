"""Two thin matrices: ridge regression squeezed through a few directions of the teacher's space."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from alignkit.heads.base import Head
from alignkit.heads.held_out import HeldOut
from alignkit.heads.kept_moments import KeptMoments
from alignkit.heads.moments import CenteredMoments
from alignkit.heads.ridge import best_lambda, check_lambda, mean_eigenvalue, moments_and_lambda, rounding_floor
from alignkit.heads.streaming import Batches, hold_out
from alignkit.setting_rules import Rule, check, number_above, whole


class LowRankHead(Head):
    """`aligned = U·(D·student) + b` with `rank` numbers in between.

    Args:
        student_dim: width of the student's vectors.
        teacher_dim: width of the teacher's.
        rank: numbers in between, at most the smaller width; `None` takes as many as `energy` asks for.
        energy: share in (0, 1] of the full solution's variance that the closed form keeps, where `rank` is `None`.
        ridge_lambda: as of the linear head.
    """

    def __init__(
        self,
        student_dim: int,
        teacher_dim: int,
        rank: int | None = None,
        energy: float = 0.99,
        ridge_lambda: float | None = None,
    ) -> None:
        super().__init__()
        check_lambda(ridge_lambda)
        widest = min(student_dim, teacher_dim)
        ranks = Rule(whole(1, widest).fits, f"1 to {widest}, the smaller of the widths {student_dim} and {teacher_dim}")
        check({"rank": rank}, {"rank": ranks.or_null("which takes as many as energy asks for")})
        check({"energy": energy}, {"energy": number_above(0, most=1)})
        self.student_dim = student_dim
        self.teacher_dim = teacher_dim
        self.rank = rank
        self.energy = energy
        self.ridge_lambda = ridge_lambda
        self.down = nn.Linear(student_dim, rank or widest, bias=False)
        self.up = nn.Linear(rank or widest, teacher_dim)

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B, teacher_dim)`."""
        return self.up(self.down(student))

    def output_layers(self) -> tuple[nn.Linear, ...]:
        """See `Head.output_layers`."""
        return (self.up,)

    @torch.no_grad()
    def solve(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Reduced-rank ridge regression; see `ClosedForm.solve`. One pass over the pairs.

        λ is the best one of the full solution. A rank of `None` is set here.
        """
        return self.solve_keeping(train, validation, chosen)[0]

    def solve_keeping(
        self, train: Batches, validation: Batches | None = None, chosen: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], KeptMoments]:
        """See `Updatable.solve_keeping`."""
        settled = {"ridge_lambda": self.ridge_lambda, "rank": self.rank} | (chosen or {})
        if settled["ridge_lambda"] is None and validation is None:  # the rank is found on the same pairs as λ
            fit, validation = hold_out(train)
            return self.solve_keeping(train, chosen=self.solve(fit, validation, chosen))
        moments, settled["ridge_lambda"] = moments_and_lambda(train, validation, settled["ridge_lambda"])
        kept = KeptMoments(moments)
        return self.solve_from(kept, settled), kept

    @torch.no_grad()
    def solve_from(self, kept: KeptMoments, chosen: dict[str, Any]) -> dict[str, Any]:
        """See `Updatable.solve_from`."""
        settled = dict(chosen)
        down, up, bias = solve_reduced_rank(kept.moments, settled["ridge_lambda"], settled["rank"], self.energy)
        self.rank = settled["rank"] = len(down)
        self.down.weight = nn.Parameter(down.to(self.down.weight))
        self.up.weight = nn.Parameter(up.to(self.up.weight).contiguous())
        self.up.bias.copy_(bias)
        self.down.out_features = self.up.in_features = self.rank
        return settled

    def choose_lambda(self, kept: KeptMoments, held_out: HeldOut) -> float:
        """See `Updatable.choose_lambda`; as in `solve`, that of the full solution."""
        return best_lambda(kept.moments, held_out.student, held_out).strength


def solve_reduced_rank(
    moments: CenteredMoments, ridge_lambda: float, rank: int | None, energy: float = 0.99
) -> tuple[Tensor, Tensor, Tensor]:
    """Ridge regression under a bound on the rank of `W`.

    With `G + λI = L·Lᵀ` and `L⁻¹·C = P·S·Vᵀ` the solution is the full one projected on the first columns of `V`: least
    squares on data to which ridge's penalty was added as rows.

    Args:
        moments: of the pairs.
        ridge_lambda: λ > 0, relative to the mean eigenvalue of the Gram matrix.
        rank: of `W`; `None` takes as many directions as hold `energy` of `ΣS²`.
        energy: in (0, 1].

    Returns:
        `D (rank, student_dim)`, `U (teacher_dim, rank)` and `b (teacher_dim,)`, float64; `W = U·D`.

    Source: Mukherjee and Zhu, Reduced rank ridge regression, Statistical Analysis and Data Mining 4 (2011), section 2.
    """
    check_lambda(ridge_lambda)
    values, vectors = torch.linalg.eigh(moments.gram)
    penalty = ridge_lambda * mean_eigenvalue(moments.gram)
    roots = (values.clamp_min(0) + penalty).clamp_min(rounding_floor(values)).sqrt()
    directions, strengths, rotation = torch.linalg.svd(
        (vectors.T @ moments.cross) / roots[:, None], full_matrices=False
    )
    if rank is None:
        kept = strengths.square().cumsum(0) / strengths.square().sum().clamp_min(torch.finfo(torch.float64).tiny)
        rank = min(int((kept < energy).sum()) + 1, len(strengths))
    down = (strengths[:rank, None] * directions[:, :rank].T / roots) @ vectors.T
    up = rotation[:rank].T
    return down, up, moments.teacher_mean - up @ (down @ moments.student_mean)
