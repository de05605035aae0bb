"""Ridge regression from moments, its strength chosen from one eigendecomposition or by a few solves."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from alignkit.heads.held_out import Choice, HeldOut, choose_strength, corpus_sample
from alignkit.heads.moments import CenteredMoments
from alignkit.heads.streaming import Batches, hold_out
from alignkit.heads.sums import Features, moments_of
from alignkit.setting_rules import check, number_above

logger = logging.getLogger(__name__)

# relative to the mean eigenvalue of the Gram matrix, so that one grid suits any scale and any N
LAMBDAS = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 5))
# where the search begins; good for some thousands of pairs
USUAL_LAMBDA = 1e-3


def check_lambda(ridge_lambda: float | None) -> None:
    """Raise a `ConfigError` unless λ is a number above 0, or `None`, which means that it is chosen."""
    check({"ridge_lambda": ridge_lambda}, {"ridge_lambda": number_above(0).or_null("which chooses it")})


def ridge_moments(train: Batches, features: Features | None = None) -> CenteredMoments:
    """Moments of the pairs, see `moments_of`; warns if there are no more pairs than dimensions."""
    moments = moments_of(train, features)
    if moments.count <= len(moments.gram):
        logger.warning(
            "%d pairs for %d dimensions: the solution leans on regularisation; more pairs will help",
            moments.count,
            len(moments.gram),
        )
    return moments


def solve_ridge(moments: CenteredMoments, ridge_lambda: float) -> tuple[Tensor, Tensor]:
    """Minimise `Σ|W·s + b − t|² + λ·mean_eigenvalue·|W|²`.

    Args:
        moments: of the pairs.
        ridge_lambda: λ > 0, relative to the mean eigenvalue of the centred Gram matrix.

    Returns:
        `W (teacher_dim, student_dim)` and `b (teacher_dim,)`, float64.

    Raises:
        ConfigError: if λ is not positive.

    Source: Hoerl and Kennard, Ridge Regression, Technometrics 12 (1970), eq. 2.1, centred so that `b` is not penalised.
    """
    check_lambda(ridge_lambda)
    regularised = moments.gram.clone()
    regularised.diagonal().add_(ridge_lambda * mean_eigenvalue(moments.gram))
    weight = solve_positive(regularised, moments.cross).T
    return weight, moments.teacher_mean - weight @ moments.student_mean


def cross_validated_lambda(train: CenteredMoments, grid: Sequence[float] = LAMBDAS) -> float:
    """The λ with the least squared error by generalised cross-validation, for regressions inside a head.

    One `eigh` of the Gram matrix serves the whole grid. A tie goes to the stronger λ.

    Source: Golub, Heath and Wahba, Generalized Cross-Validation, Technometrics 21 (1979), eq. 1.4.
    """
    values, vectors = torch.linalg.eigh(train.gram)
    values = values.clamp_min(0)
    energy = (vectors.T @ train.cross).square().sum(dim=1)
    errors = [
        _generalised_error(train, values, energy, ridge_lambda * mean_eigenvalue(train.gram)) for ridge_lambda in grid
    ]
    best = min(reversed(range(len(grid))), key=lambda i: errors[i])
    return grid[best]


def best_lambda(
    train: CenteredMoments,
    student: Tensor,
    held_out: HeldOut,
    start: float = USUAL_LAMBDA,
    grid: Sequence[float] = LAMBDAS,
) -> Choice:
    """The λ that does best on held-out pairs, see `choose_strength`.

    Args:
        train: moments of what is solved on.
        student: `(Q, student_dim)`, held-out students in the form that `train` has (features, if it is of features).
        held_out: the same Q sentences.
        start: λ of the grid to begin at.
        grid: of λ.
    """
    student = student.float()

    def attempt(ridge_lambda: float) -> Tensor:
        weight, bias = solve_ridge(train, ridge_lambda)
        return held_out.quality(torch.addmm(bias.to(student), student, weight.T.to(student)))

    return choose_strength(grid, start, attempt)


def moments_and_lambda(
    train: Batches, validation: Batches | None, ridge_lambda: float | None = None, features: Features | None = None
) -> tuple[CenteredMoments, float]:
    """Moments of the training pairs, and λ: the given one, or the one that does best on the validation pairs.

    One pass over each side. Without λ and validation pairs, it is chosen on a part of the training pairs: two passes
    more.

    Args:
        train: the pairs to solve on.
        validation: those to choose on.
        ridge_lambda: λ; `None` chooses it.
        features: of the students, in their place; see `moments_of`.
    """
    if ridge_lambda is not None:
        return ridge_moments(train, features), ridge_lambda
    if validation is None:
        return moments_and_lambda(train, None, moments_and_lambda(*hold_out(train), None, features)[1], features)
    sample = corpus_sample(train, validation)
    moments = ridge_moments(sample.watch(train), features)
    held_out = HeldOut.of(validation, sample.pairs()[1])
    student = held_out.student
    if features is not None:
        student = next(iter(features([(student, held_out.teacher)])))[0]
    return moments, best_lambda(moments, student, held_out).strength


def solve_positive(matrix: Tensor, right: Tensor) -> Tensor:
    """`matrix⁻¹·right` of a positive semidefinite `(..., D, D)`, even if rounding has swallowed its regularisation."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed.any():
        return torch.cholesky_solve(right, factor)
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ ((vectors.mT @ right) / values.clamp_min(rounding_floor(values)).unsqueeze(-1))


def rounding_floor(values: Tensor) -> Tensor:
    """`(..., 1)`: ascending eigenvalues `(..., D)` of float32 products that are smaller cannot be told from zero."""
    largest = values[..., -1:].clamp_min(torch.finfo(torch.float64).tiny)
    return torch.finfo(torch.float32).eps * largest


def mean_eigenvalue(gram: Tensor) -> float:
    """The unit of λ; 1 for constant students, whose Gram matrix is zero, since any positive number then gives W = 0."""
    return float(gram.diagonal().mean()) or 1.0


def _generalised_error(train: CenteredMoments, values: Tensor, energy: Tensor, penalty: float) -> float:
    shrunk = values + penalty
    residual = train.teacher_variation - float(((values + 2 * penalty) / shrunk.square() * energy).sum())
    freedom = 1 + float((values / shrunk).sum())
    left = train.count - freedom
    return max(0.0, residual) / left**2 if left > 0 else float("inf")
