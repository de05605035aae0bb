"""Ridge regression from moments, its strength chosen from one eigendecomposition or by a few solves."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alignkit.errors import ConfigError
from alignkit.heads.base import Batches
from alignkit.heads.moments import CenteredMoments, Moments
from alignkit.vectors import cosine, l2_normalize

logger = logging.getLogger(__name__)

# relative to the mean eigenvalue of the Gram matrix, so that the same grid suits any scale and any N
LAMBDAS = tuple(10.0 ** (exponent / 2) for exponent in range(-12, 5))

NEIGHBOURS, NEIGHBOUR_SENTENCES = 10, 2000


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
    weight = _solve_positive(regularised, moments.cross).T
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
    """One solution and its quality on held-out pairs.

    Attributes:
        ridge_lambda: λ.
        weight: `(teacher_dim, student_dim)` float64.
        bias: `(teacher_dim,)` float64.
        quality: mean cosine plus share of near neighbours found, in [-1, 2]. The cosine alone would shrink too much:
            vectors pulled towards the mean lie nearer to the teacher's and are harder to tell apart.
        standard_error: of the mean cosine over the held-out pairs.
    """

    ridge_lambda: float
    weight: Tensor
    bias: Tensor
    quality: float
    standard_error: float


def fit_ridge(train: CenteredMoments, held_out: Sequence[tuple[Tensor, Tensor]], ridge_lambda: float) -> RidgeFit:
    """Ridge regression with its quality on held-out pairs."""
    weight, bias = solve_ridge(train, ridge_lambda)
    aligned = torch.cat([torch.addmm(bias.to(part), part, weight.T.to(part)) for part, _ in held_out])
    teacher = torch.cat([part for _, part in held_out]).to(aligned)
    cosines = cosine(aligned, teacher)
    quality = float(cosines.mean()) + _neighbours_found(aligned, teacher)
    return RidgeFit(ridge_lambda, weight, bias, quality, float(cosines.std(correction=0)) / len(cosines) ** 0.5)


def _neighbours_found(aligned: Tensor, teacher: Tensor) -> float:
    """Share of each sentence's nearest ones, by the teacher, that its aligned vector finds too; in [0, 1]."""
    aligned, teacher = aligned[:NEIGHBOUR_SENTENCES], l2_normalize(teacher[:NEIGHBOUR_SENTENCES])
    count = min(NEIGHBOURS, len(teacher) - 1)
    if count < 1:
        return 0.0
    itself = torch.eye(len(teacher), dtype=torch.bool, device=teacher.device)
    found, wanted = (
        (side @ teacher.T).masked_fill(itself, -torch.inf).topk(count).indices for side in (aligned, teacher)
    )
    return float((found.unsqueeze(2) == wanted.unsqueeze(1)).sum()) / found.numel()


def _solve_positive(matrix: Tensor, right: Tensor) -> Tensor:
    factor, failed = torch.linalg.cholesky_ex(matrix)
    if not failed:
        return torch.cholesky_solve(right, factor)
    # rounding of the float32 products outweighed a very small λ
    values, vectors = torch.linalg.eigh(matrix)
    floor = torch.finfo(torch.float32).eps * values[-1].clamp_min(torch.finfo(torch.float64).tiny)
    return vectors @ ((vectors.T @ right) / values.clamp_min(floor).unsqueeze(1))


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
