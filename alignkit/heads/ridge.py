"""Ridge regression from moments, its strength chosen from one eigendecomposition or by a few solves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.errors import ConfigError
from alignkit.heads.base import Batches
from alignkit.heads.climb import climb
from alignkit.heads.held_out import HeldOut
from alignkit.heads.moments import CenteredMoments, Moments

logger = logging.getLogger(__name__)

# relative to the mean eigenvalue of the Gram matrix, so that the same grid suits any scale and any N
LAMBDAS = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 5))
# where the search for it begins: good for some thousands of pairs
USUAL_LAMBDA = 1e-3


def check_lambda(ridge_lambda: float | None) -> None:
    """Raise a `ConfigError` unless λ is a number above 0, or `None` for "choose it"."""
    if ridge_lambda is not None and not 0 < ridge_lambda < float("inf"):
        raise ConfigError(f"ridge_lambda={ridge_lambda}: expected a number above 0, or null to choose it")


def ridge_moments(train: Batches) -> CenteredMoments:
    """Moments of the pairs; says so where there are fewer pairs than dimensions."""
    moments = Moments.of(train).centered()
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


def choose_lambda(
    train: CenteredMoments, validation: CenteredMoments | None = None, grid: Sequence[float] = LAMBDAS
) -> float:
    """The λ of the grid with the least squared error on validation pairs, or by generalised cross-validation.

    One `eigh` of the Gram matrix serves the whole grid. A tie goes to the stronger λ.

    Source: Golub, Heath and Wahba, Generalized Cross-Validation, Technometrics 21 (1979), eq. 1.4.
    """
    values, vectors = torch.linalg.eigh(train.gram)
    values = values.clamp_min(0)
    projected = vectors.T @ train.cross
    penalties = [ridge_lambda * mean_eigenvalue(train.gram) for ridge_lambda in grid]
    if validation is None:
        energy = projected.square().sum(dim=1)
        errors = [_generalised_error(train, values, energy, penalty) for penalty in penalties]
    else:
        errors = _held_out_errors(train, validation, values, vectors, projected, penalties)
    best = min(reversed(range(len(grid))), key=lambda i: errors[i])
    return grid[best]


@dataclass(frozen=True)
class RidgeFit:
    """One solution and what it is worth on held-out pairs.

    Attributes:
        ridge_lambda: λ.
        weight: `(teacher_dim, student_dim)` float64.
        bias: `(teacher_dim,)` float64.
        qualities: `(Q,)`, see `HeldOut.quality`.
    """

    ridge_lambda: float
    weight: Tensor
    bias: Tensor
    qualities: Tensor

    @property
    def quality(self) -> float:
        """Mean of `qualities`."""
        return float(self.qualities.mean())

    def is_matched_by(self, others: Tensor) -> bool:
        """Whether a solution with these qualities is no worse beyond the standard error of the paired difference."""
        lost = self.qualities - others
        return float(lost.mean()) <= float(lost.std(correction=0)) / len(lost) ** 0.5


def fit_ridge(train: CenteredMoments, student: Tensor, held_out: HeldOut, ridge_lambda: float) -> RidgeFit:
    """Ridge regression with its quality on held-out pairs.

    Args:
        train: moments of what is solved on.
        student: `(Q, student_dim)`, the held-out students as `train` saw its own: features, where those are regressed.
        held_out: the same Q sentences.
        ridge_lambda: λ > 0.
    """
    weight, bias = solve_ridge(train, ridge_lambda)
    student = student.float()
    aligned = torch.addmm(bias.to(student), student, weight.T.to(student))
    return RidgeFit(ridge_lambda, weight, bias, held_out.quality(aligned))


def best_ridge(
    train: CenteredMoments,
    student: Tensor,
    held_out: HeldOut,
    start: float = USUAL_LAMBDA,
    grid: Sequence[float] = LAMBDAS,
) -> RidgeFit:
    """The λ of an ascending grid that does best on held-out pairs, found by a few solves from `start`.

    Among what is as good within the noise, it is the weakest: held-out sentences lie further apart than those of an
    index, so they are told apart too easily, which flatters strong regularisation. See `fit_ridge` for the arguments.
    """
    # solutions of wide teachers are large: only what each was worth is kept of those that were tried
    qualities: dict[float, Tensor] = {}

    def attempt(strength: float) -> RidgeFit:
        fit = fit_ridge(train, student, held_out, strength)
        qualities[strength] = fit.qualities
        return fit

    best = climb(grid, start, attempt, lambda fit: fit.quality)
    kept = best.ridge_lambda
    for strength in reversed(grid[: grid.index(kept)]):
        if strength not in qualities:
            attempt(strength)
        if not best.is_matched_by(qualities[strength]):
            break
        kept = strength
    return best if kept == best.ridge_lambda else fit_ridge(train, student, held_out, kept)


def solve_positive(matrix: Tensor, right: Tensor) -> Tensor:
    """`matrix⁻¹·right` of a positive semidefinite `(..., D, D)`, also where its regularisation is lost in rounding."""
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed.any():
        return torch.cholesky_solve(right, factor)
    values, vectors = torch.linalg.eigh(matrix)
    return vectors @ ((vectors.mT @ right) / values.clamp_min(rounding_floor(values)).unsqueeze(-1))


def rounding_floor(values: Tensor) -> Tensor:
    """What eigenvalues `(..., D)`, ascending, of float32 products cannot be told from: `(..., 1)`."""
    largest = values[..., -1:].clamp_min(torch.finfo(torch.float64).tiny)
    return torch.finfo(torch.float32).eps * largest


def mean_eigenvalue(gram: Tensor) -> float:
    """The unit of λ; 1 for constant students, whose Gram matrix is zero: any positive number then gives W = 0."""
    return float(gram.diagonal().mean()) or 1.0


def _generalised_error(train: CenteredMoments, values: Tensor, energy: Tensor, penalty: float) -> float:
    shrunk = values + penalty
    residual = train.teacher_variation - float(((values + 2 * penalty) / shrunk.square() * energy).sum())
    freedom = 1 + float((values / shrunk).sum())
    left = train.count - freedom
    return max(0.0, residual) / left**2 if left > 0 else float("inf")


def _held_out_errors(
    train: CenteredMoments,
    validation: CenteredMoments,
    values: Tensor,
    vectors: Tensor,
    projected: Tensor,
    penalties: list[float],
) -> list[float]:
    gram = vectors.T @ validation.gram @ vectors
    cross = vectors.T @ validation.cross
    # the validation means differ from the training means that the solution is centred on
    student_gap = vectors.T @ (validation.student_mean - train.student_mean)
    teacher_gap = validation.teacher_mean - train.teacher_mean
    errors = []
    for penalty in penalties:
        weight = projected / (values + penalty).unsqueeze(1)
        spread = float((weight * (gram @ weight)).sum() - 2 * (weight * cross).sum())
        bias = float((teacher_gap - student_gap @ weight).square().sum()) * validation.count
        errors.append(spread + bias)
    return errors
