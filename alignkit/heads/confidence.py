"""How much to trust an aligned vector, estimated from the student's vector alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from alignkit.errors import DataError
from alignkit.heads.base import Part
from alignkit.heads.moments import Moments
from alignkit.heads.ridge import cross_validated_lambda, solve_ridge
from alignkit.vectors import are_among, cosine, l2_normalize

KNOTS = 32


class ConfidenceEstimate(Part):
    """Expected share of the teacher's ten nearest sentences that a query finds, in [0, 1].

    A ridge regression of that share on what a query shows without an index: the student's vector scaled to length 1,
    its cosines with the nearest of some training sentences, and with their mean. Isotonic regression turns the score
    into a share.

    Args:
        student_dim: width of the student's vectors.
        anchors: number of training sentences to compare with.

    Source: isotonic regression as calibration: Zadrozny and Elkan, KDD 2002.
    """

    def __init__(self, student_dim: int, anchors: int = 1024) -> None:
        super().__init__()
        self.student_dim = student_dim
        self.anchors = anchors
        self.references = nn.Parameter(torch.zeros(anchors, student_dim), requires_grad=False)
        self.score = nn.Linear(student_dim + 3, 1).requires_grad_(False)
        self.knots = nn.Parameter(torch.linspace(-1, 1, KNOTS), requires_grad=False)
        self.shares = nn.Parameter(torch.zeros(KNOTS), requires_grad=False)

    @classmethod
    def of_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Older versions kept a `teacher_dim` of 1."""
        return cls(**{name: value for name, value in arguments.items() if name != "teacher_dim"})

    def forward(self, student: Tensor) -> Tensor:
        """`(B, student_dim)` → `(B,)`."""
        score = self.score(self._traits(student)).squeeze(-1).contiguous()
        right = torch.searchsorted(self.knots, score).clamp(1, KNOTS - 1)
        low, high = self.knots[right - 1], self.knots[right]
        way = ((score - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
        return torch.lerp(self.shares[right - 1], self.shares[right], way)

    @torch.no_grad()
    def fit(self, student: Tensor, shares: Tensor, references: Tensor) -> None:
        """Fit to queries whose share is known.

        Args:
            student: `(Q, student_dim)`, queries that the head was not fitted on.
            shares: `(Q,)` in [0, 1], the share that each of them found.
            references: `(R, student_dim)`, training sentences; `anchors` of them are kept, evenly spread.

        Raises:
            DataError: for fewer than 20 queries.
        """
        if len(student) < 20:
            raise DataError(f"{len(student)} queries to learn confidence from; expected at least 20")
        kept = torch.linspace(0, len(references) - 1, self.anchors).long()
        self.references.copy_(l2_normalize(references[kept].float()))
        traits, shares = self._traits(student), shares.double()
        fold = torch.arange(len(student)) % 5
        score = torch.empty_like(shares)
        for held_out in range(5):  # scores of unseen queries, like those that will come
            rest = fold != held_out
            weight, bias = _regress(traits[rest], shares[rest])
            score[~rest] = traits[~rest].double() @ weight + bias
        weight, bias = _regress(traits, shares)
        self.score.weight.copy_(weight.unsqueeze(0))
        self.score.bias.copy_(bias)
        order = score.argsort()
        # means of groups of equal size: one step a query would be overfitted
        parts = [part for part in order.tensor_split(KNOTS) if len(part)]
        knots = torch.stack([score[part].mean() for part in parts])
        steps = rising(torch.stack([shares[part].mean() for part in parts]), torch.tensor([*map(len, parts)]))
        at = torch.linspace(0, len(parts) - 1, KNOTS).round().long()
        self.knots.copy_(knots[at])
        self.shares.copy_(steps[at].clamp(0, 1))

    @torch.no_grad()
    def forget(self, students: Tensor) -> None:
        """Put other references in the place of those that are vectors of these `(N, student_dim)` sentences."""
        own = self.references
        gone = are_among(own, students.to(own))
        if bool(gone.any()):
            others = own[~gone] if not bool(gone.all()) else torch.zeros_like(own[:1])
            own[gone] = others[torch.arange(int(gone.sum())) % len(others)]

    def _traits(self, student: Tensor) -> Tensor:
        unit = l2_normalize(student)
        likeness = unit @ self.references.T
        nearest = likeness.topk(min(10, self.anchors), dim=-1).values
        middle = cosine(unit, self.references.mean(dim=0))
        return torch.cat([unit, nearest[:, :1], nearest.mean(dim=-1, keepdim=True), middle.unsqueeze(-1)], dim=-1)


def rising(values: Tensor, weights: Tensor) -> Tensor:
    """Isotonic regression: of all that never falls, what is nearest to the values in weighted squares.

    By the min-max formula (Robertson, Wright and Dykstra, Order Restricted Statistical Inference, 1988, 1.4), whose
    `(K, K)` means of all runs are nothing for a few dozen values. `scipy.optimize.isotonic_regression` gives the same
    and takes 0.36 s of CPU to load, a tenth of `train` on the demo pack.

    Args:
        values: `(K,)`.
        weights: `(K,)`, above 0.

    >>> rising(torch.tensor([1.0, 3.0, 2.0, 4.0]), torch.tensor([1, 1, 3, 1]))
    tensor([1.0000, 2.2500, 2.2500, 4.0000])
    """
    sums, sizes = (torch.nn.functional.pad(one.cumsum(0), (1, 0)) for one in (values * weights, weights))
    means = (sums[1:] - sums[:-1, None]) / (sizes[1:] - sizes[:-1, None])  # of the values from row to column
    whole = torch.ones_like(means, dtype=torch.bool).triu()
    lowest = means.where(whole, torch.inf).flip(1).cummin(1).values.flip(1)
    return lowest.where(whole, -torch.inf).amax(dim=0)


def _regress(traits: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    moments = Moments.of([(traits, shares.unsqueeze(1).float())]).centered()
    weight, bias = solve_ridge(moments, cross_validated_lambda(moments))
    return weight[0], bias[0]
